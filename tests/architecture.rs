//! Checks the sources against the layers in `src/lib.rs`, and limits the size of files.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Permitted dependencies of each top-level module. A module that is not listed may have none.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("files", &[]),
    ("ports", &["domain"]),
    ("crypto", &["domain", "files", "ports"]),
    ("store", &["domain", "files", "ports"]),
    ("service", &["crypto", "domain", "ports"]),
    ("http", &["crypto", "domain", "ports", "service"]),
    ("config", &["crypto", "domain", "files", "store"]),
    ("telemetry", &["config", "domain", "service"]),
    (
        "app",
        &[
            "config",
            "crypto",
            "domain",
            "files",
            "http",
            "ports",
            "service",
            "store",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "crypto",
            "domain",
            "files",
            "ports",
            "service",
            "store",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
];

/// Forbidden text in the code of a folder. Comments are ignored.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    (
        "domain",
        &[
            "async ",
            "await",
            "tokio::",
            "diesel",
            "redis::",
            "actix_web",
            "jsonwebtoken",
            "aws_lc_rs",
        ],
    ),
    (
        "ports",
        &[
            "tokio::",
            "diesel",
            "redis::",
            "actix_web",
            "jsonwebtoken",
            "aws_lc_rs",
        ],
    ),
    ("service", &["diesel", "redis::", "actix_web"]),
    ("http", &["diesel", "redis::", "sql_query"]),
];

const SQL: [&str; 4] = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "];
const MAX_LINES: usize = 400;

#[test]
fn modules_use_only_permitted_modules() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let modules = modules(&file);
        let from = modules[0].as_str();
        let allowed = ALLOWED
            .iter()
            .find(|(name, _)| *name == from)
            .map_or(&[] as &[_], |(_, allowed)| allowed);
        for to in edges(&modules, &code(&read(&file))) {
            if to != from && !allowed.contains(&to.as_str()) {
                wrong.push(format!(
                    "{} uses {to}: {from} may use {allowed:?}",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_listed() {
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<_> = sources("src")
        .iter()
        .map(|file| modules(file)[0].clone())
        .collect();
    let found: BTreeSet<_> = found.into_iter().filter(|name| name != "lib").collect();
    assert_eq!(found, listed);
}

#[test]
fn inner_layers_do_not_use_outer_libraries() {
    let mut wrong = Vec::new();
    for (folder, forbidden) in FORBIDDEN {
        for file in sources(&format!("src/{folder}")) {
            let code = code(&read(&file));
            for word in forbidden
                .iter()
                .filter(|word| words(&code, word).next().is_some())
            {
                wrong.push(format!("{} uses {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn handlers_contain_no_sql() {
    let mut wrong = Vec::new();
    for file in sources("src/http") {
        let text = read(&file);
        for phrase in SQL.iter().filter(|phrase| text.contains(**phrase)) {
            wrong.push(format!("{} holds {phrase:?}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_have_at_most_four_hundred_lines() {
    let long: Vec<_> = ["src", "crates", "tests"]
        .into_iter()
        .flat_map(sources)
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}: split them by topic");
}

#[test]
fn lint_exceptions_are_expected_with_a_reason() {
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().chain(sources("crates")) {
        let code = code(&read(&file)).replace("#![", "#[");
        if code.contains("#[allow") {
            wrong.push(format!(
                "{}: write #[expect(…, reason = \"…\")] instead of #[allow]",
                file.display()
            ));
        }
        let unexplained = |rest: &&str| {
            rest.split(']')
                .next()
                .is_some_and(|inside| !inside.contains("reason ="))
        };
        if code
            .split("#[expect")
            .skip(1)
            .any(|rest| unexplained(&rest))
        {
            wrong.push(format!("{}: #[expect] without a reason", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn edges_finds_every_form_of_path() {
    let seen = |module: &[&str], text: &str| {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        edges(&module, &code(text))
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(seen(&["http", "body"], "use crate::store::sql;"), "store");
    assert_eq!(
        seen(
            &["http", "body"],
            "use crate::{a::{b, c}, store::{sql::{D}, redis}, d};"
        ),
        "a d store"
    );
    assert_eq!(
        seen(&["http", "body"], "fn f() -> crate::config::Config {}"),
        "config"
    );
    assert_eq!(seen(&["http", "body"], "use super::state;"), "");
    assert_eq!(
        seen(&["http", "body"], "use super::super::store::sql;"),
        "store"
    );
    assert_eq!(
        seen(&["http"], "use super::{store, config::Config};"),
        "config store"
    );
    assert_eq!(seen(&["main"], "latchkey::store::sql::x()"), "store");
    assert_eq!(
        seen(
            &["http"],
            "// crate::store\n/// [crate::config]\nlet x = \"http://a\"; crate::cli::x()"
        ),
        "cli"
    );
    assert_eq!(seen(&["http"], "use latchkey_verifier::Kind;"), "");
}

/// Returns the top-level modules that a file names.
fn edges(modules: &[String], code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "latchkey::"] {
        found.extend(words(code, root).flat_map(|at| firsts(&code[at + root.len()..])));
    }
    // One `super::` for each module leads to the root.
    let climb = "super::".repeat(modules.len());
    found.extend(
        code.match_indices(&climb)
            .flat_map(|(at, _)| firsts(&code[at + climb.len()..])),
    );
    found.remove("super");
    found
}

/// Returns the positions of `word`, except at the end of a longer word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inside = |at: usize| {
        code[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !inside(*at))
}

/// Returns `a` for `a::b`, and `a` and `c` for `{a::{b}, c::d}`.
fn firsts(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Removes the comments. A line comment starts at a `//` that is not part of a URL.
fn code(text: &str) -> String {
    let line = |line: &str| {
        let starts = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'));
        format!("{}\n", &line[..starts.map_or(line.len(), |(at, _)| at)])
    };
    text.lines().map(line).collect()
}

/// Returns the module path of a file: `[http, routes]` for `src/http/routes/mod.rs`.
fn modules(file: &Path) -> Vec<String> {
    let inside = file
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap()
        .with_extension("");
    let mut modules: Vec<_> = inside
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if modules.len() > 1 && modules.last().is_some_and(|last| last == "mod") {
        modules.pop();
    }
    modules
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// Returns all Rust files below a folder of this repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "no source in {folder}");
    files
}
