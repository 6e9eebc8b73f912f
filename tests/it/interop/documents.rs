//! The code in the guides equals the code that the tests run, and the guides show or link all code
//! in `examples`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::examples::EXAMPLES;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the code blocks of a document in this language, in order.
pub fn blocks(document: &str, language: &str) -> Vec<String> {
    let document = file(document);
    let fence = format!("\n```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// Replaces the only occurrence of `from` with `to`.
pub fn with(text: &str, from: &str, to: &str) -> String {
    assert_eq!(
        text.matches(from).count(),
        1,
        "{from:?} does not occur exactly once: {text}"
    );
    text.replace(from, to)
}

/// Code that a guide shows: all its blocks in this language, in order.
const SHOWN: [(&str, &str, &[&str]); 5] = [
    (
        "from-simplejwt.md",
        "python",
        &[
            "examples/django/people/models.py",
            "examples/django/simple_jwt.py",
        ],
    ),
    ("nginx.md", "nginx", &["examples/nginx/nginx.conf"]),
    (
        "verify-offline.md",
        "js",
        &["examples/node-jose/verify.mjs"],
    ),
    (
        "verify-offline.md",
        "python",
        &["examples/python-pyjwt/verify.py"],
    ),
    (
        "verify-offline.md",
        "rust",
        &["crates/latchkey-verifier/examples/verify.rs"],
    ),
];

#[test]
fn code_blocks_of_the_guides_equal_the_tested_files() {
    for (guide, language, files) in SHOWN {
        let files: Vec<_> = files.iter().map(|name| file(name)).collect();
        assert_eq!(
            blocks(&format!("docs/guides/{guide}"), language),
            files,
            "{guide}, {language}"
        );
    }
}

#[test]
fn each_folder_of_examples_has_a_test_and_a_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = entries(&root.join("examples"))
        .into_iter()
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    folders.sort_unstable();
    let tested: Vec<_> = EXAMPLES.iter().map(|(folder, _)| *folder).collect();
    assert_eq!(folders, tested, "the table in examples.rs");

    let index = file("examples/README.md");
    for (folder, guide) in EXAMPLES {
        assert!(
            index.contains(&format!("| [{folder}]({folder}) |")),
            "examples/README.md does not list {folder}"
        );
        let readme = file(&format!("examples/{folder}/README.md"));
        assert!(
            readme.contains(&format!("](../../docs/guides/{guide})")),
            "{folder}: the README does not link to {guide}"
        );
        assert!(
            file(&format!("docs/guides/{guide}")).contains(&format!("](../../examples/{folder})")),
            "{guide} does not link to {folder}"
        );
    }
}

#[test]
fn guides_show_or_link_all_code_of_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (folder, guide) in EXAMPLES {
        let guide_text = file(&format!("docs/guides/{guide}"));
        for path in code(&root.join("examples").join(folder)) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            let is_shown = SHOWN
                .iter()
                .any(|(by, _, files)| by == guide && files.contains(&name));
            assert!(
                is_shown || guide_text.contains(&format!("](../../{name})")),
                "{guide} neither shows nor links {name}"
            );
            found.push(name.to_owned());
        }
    }
    for (_, _, files) in SHOWN {
        for name in files.iter().filter(|name| name.starts_with("examples/")) {
            assert!(found.iter().any(|known| known == name), "{name}");
        }
    }
}

/// Returns the files with code in this folder and below, without empty ones and installed ones.
fn code(folder: &Path) -> Vec<PathBuf> {
    const NO_CODE: [&str; 4] = ["json", "md", "pyc", "txt"];
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            found.extend(code(&path));
        } else if fs::metadata(&path).unwrap().len() > 0
            && path
                .extension()
                .is_none_or(|extension| NO_CODE.iter().all(|known| extension != *known))
        {
            found.push(path);
        }
    }
    found
}

/// Returns the entries of a folder, without those that `examples/.gitignore` names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let ignored = file("examples/.gitignore");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            !ignored
                .lines()
                .any(|line| line.trim_end_matches('/') == name)
        })
        .map(|entry| entry.path())
        .collect()
}
