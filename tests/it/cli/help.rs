//! Help, version and completion scripts.

use std::process::Stdio;

use clap::Args as _;
use latchkey::config::Config;

use latchkey_testkit::Place;

#[test]
fn setting_is_a_flag_a_variable_and_an_entry_of_help() {
    let help = Place::new().run("serve --help").done().to_owned();
    let command = Config::augment_args(clap::Command::new("serve"));
    let mut settings = 0;
    for argument in command.get_arguments() {
        let id = argument.get_id();
        let flag = argument
            .get_long()
            .unwrap_or_else(|| panic!("{id} is not a flag"));
        let variable = argument
            .get_env()
            .and_then(|name| name.to_str())
            .unwrap_or_else(|| panic!("{id} is not a variable"));
        let text = argument
            .get_help()
            .unwrap_or_else(|| panic!("{id} has no help"))
            .to_string();
        assert!(argument.get_help_heading().is_some(), "{id} has no heading");
        assert!(!text.ends_with('.') && text.len() > 10, "{id}: {text:?}");
        assert!(!text.contains('`'), "{id}: {text:?}");

        let begins = help
            .find(&format!("--{flag} <"))
            .unwrap_or_else(|| panic!("--{flag} is not in {help}"));
        let entry = help[begins..].split("\n      --").next().unwrap();
        // Help shows the value that is set, unless it may be a secret.
        let shown = if argument.is_hide_env_values_set() {
            ""
        } else {
            "="
        };
        assert!(
            entry.contains(&format!("[env: {variable}{shown}]")),
            "{entry}"
        );
        let first = text
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ");
        assert!(entry.contains(&first), "{entry}");
        for default in argument.get_default_values() {
            assert!(
                entry.contains(&format!("[default: {}]", default.to_str().unwrap())),
                "{entry}"
            );
        }
        let plain = variable.trim_end_matches("_FILE");
        assert!(
            variable.starts_with("LATCHKEY_") || ["DATABASE_URL", "REDIS_URL"].contains(&plain),
            "{variable}"
        );
        settings += 1;
    }
    assert!(settings > 30, "{settings}");
}

#[test]
fn short_and_long_help_go_to_standard_output() {
    let place = Place::new();
    for words in [
        "--help",
        "-h",
        "help",
        "serve -h",
        "users --help",
        "users create --help",
        "keys rotate -h",
    ] {
        let out = place.run(words).done().to_owned();
        assert!(out.contains("Usage: latchkey"), "{words}: {out}");
    }
    let out = place.run("--help").done().to_owned();
    for command in [
        "serve",
        "config",
        "migrate",
        "users",
        "keys",
        "sessions",
        "flush-expired",
        "doctor",
        "healthcheck",
        "openapi",
        "completions",
    ] {
        assert!(
            out.lines().any(|line| line.trim().starts_with(command)),
            "{command}: {out}"
        );
    }
    assert!(place.files().is_empty());
}

#[test]
fn version_is_that_of_the_package() {
    let place = Place::new();
    let expected = format!("latchkey {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.run("--version").done(), expected);
    assert_eq!(place.run("-V").done(), expected);
}

#[test]
fn missing_or_unknown_command_prints_the_choices() {
    let place = Place::new();
    for (words, expected) in [
        ("", "Usage: latchkey"),
        ("srve", "serve"),
        ("serve --prot 1", "--prot"),
        ("users", "create"),
        ("completions klingon", "bash"),
    ] {
        let outcome = place.run(words);
        assert_eq!(
            (outcome.code, outcome.out.as_str()),
            (Some(2), ""),
            "{words}"
        );
        assert!(outcome.err.contains(expected), "{words}: {}", outcome.err);
    }
}

#[test]
fn closed_standard_output_is_not_an_error() {
    let place = Place::new();
    for words in ["completions bash", "config", "serve --help"] {
        let mut child = place
            .command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (
                output.status.code(),
                String::from_utf8_lossy(&output.stderr).as_ref()
            ),
            (Some(0), ""),
            "{words}"
        );
    }
}

#[test]
fn completion_script_exists_for_each_shell() {
    let place = Place::new();
    for (shell, marker) in [
        ("bash", "complete -F"),
        ("elvish", "edit:completion"),
        ("fish", "complete -c latchkey"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef latchkey"),
    ] {
        let script = place.run(&format!("completions {shell}")).done().to_owned();
        assert!(
            script.contains(marker) && script.contains("flush-expired"),
            "{shell}"
        );
    }
}

/// Returns all commands without subcommands, from the help of their parents.
fn all_commands(place: &Place, words: &str) -> Vec<String> {
    let help = place.run(&format!("{words} --help")).done().to_owned();
    let Some(list) = help.split("\nCommands:\n").nth(1) else {
        return vec![words.trim().to_owned()];
    };
    let entry = |line: &str| {
        line.strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
            .map(ToOwned::to_owned)
    };
    let names = list.split("\n\n").next().unwrap().lines().filter_map(entry);
    let names: Vec<String> = names
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    names
        .iter()
        .filter(|name| *name != "help")
        .flat_map(|name| all_commands(place, &format!("{words} {name}")))
        .collect()
}

#[test]
fn help_lists_own_arguments_before_settings() {
    let place = Place::new();
    let commands = all_commands(&place, "");
    assert!(
        commands.len() > 25 && commands.contains(&"users create".to_owned()),
        "{commands:?}"
    );
    for words in &commands {
        let help = place.run(&format!("{words} --help")).done().to_owned();
        let usage = help
            .lines()
            .find(|line| line.starts_with("Usage: "))
            .unwrap();
        assert!(
            usage.starts_with(&format!("Usage: latchkey {words}")),
            "{words}: {usage}"
        );
        let mut settings = None;
        let mut heading = "";
        let lines: Vec<&str> = help.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.ends_with(':') && !line.starts_with(' ') {
                heading = line;
            }
            let Some(flag) = line
                .trim_start()
                .split([' ', ','])
                .find(|word| word.starts_with("--"))
            else {
                continue;
            };
            if !line.starts_with("      --") && !line.starts_with("  -") {
                continue;
            }
            let entry = lines[number..].iter().skip(1).take_while(|line| {
                !["--", "-h,", "-V,"]
                    .iter()
                    .any(|flag| line.trim_start().starts_with(flag))
            });
            let text = std::iter::once(line)
                .chain(entry)
                .copied()
                .collect::<Vec<_>>()
                .join("\n");
            if text.contains("[env:") {
                settings = Some(flag);
                assert!(
                    heading != "Options:",
                    "{words}: {flag} is under {heading}\n{help}"
                );
                assert!(!usage.contains(flag), "{words}: {usage}");
            } else {
                assert_eq!(
                    (settings, heading),
                    (None, "Options:"),
                    "{words}: {flag} is after a setting\n{help}"
                );
            }
        }
    }
    let usage = |words: &str| {
        let help = place.run(&format!("{words} --help")).done().to_owned();
        help.lines()
            .find(|line| line.starts_with("Usage: "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        usage("users create"),
        "Usage: latchkey users create [OPTIONS] <USERNAME>"
    );
    assert_eq!(usage("audit"), "Usage: latchkey audit [OPTIONS]");
}

#[test]
fn usage_of_an_error_shows_no_setting_of_the_environment() {
    let place = Place::new()
        .with("LATCHKEY_DATA_DIR", "data")
        .with("DATABASE_URL", "postgres://127.0.0.1:1/x");
    for words in [
        "users create",
        "users show",
        "sessions revoke",
        "keys revoke",
        "why",
        "users create a --nonsense",
    ] {
        let outcome = place.run(words);
        assert_eq!(outcome.code, Some(2), "{words}");
        let usage = outcome
            .err
            .lines()
            .find(|line| line.starts_with("Usage: "))
            .unwrap()
            .to_owned();
        assert!(
            !usage.contains("--data") && !usage.contains("_dir"),
            "{words}: {usage}"
        );
    }
}
