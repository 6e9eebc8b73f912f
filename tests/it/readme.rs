//! The README's console blocks, run as a reader would run them: each `$ ` line in one shell, its output compared with
//! the lines below it, where `…` stands for anything.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use regex::Regex;

const SERVE: &str = "cargo run --release -- serve";
const ADDRESS: &str = "127.0.0.1:8000";

/// A line to type and what should appear.
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), output: Vec::new() }),
                None => steps.last_mut().unwrap().output.push(line.to_owned()),
            },
            (false, _) => {}
        }
    }
    steps
}

fn assert_shows(step: &Step, shown: &[String]) {
    for (expected, line) in step.output.iter().zip(shown) {
        let pattern = expected.split('…').map(regex::escape).collect::<Vec<_>>().join(".*");
        assert!(Regex::new(&format!("^{pattern}$")).unwrap().is_match(line), "$ {}\n{expected}\n{line}", step.command);
    }
    assert_eq!(step.output.len(), shown.len(), "$ {}\n{shown:?}", step.command);
}

struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut steps = steps(&readme).into_iter();
    let folder = tempfile::tempdir().unwrap();

    // The first command is the server: the same program, built for tests, on a port that is free.
    let first = steps.next().unwrap();
    assert_eq!(first.command, SERVE);
    let mut child = Command::new(env!("CARGO_BIN_EXE_latchkey"))
        .args(["serve", "--bind", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut server = Server { child, lines };
    let shown: Vec<String> = server.lines.by_ref().take(first.output.len()).map(Result::unwrap).collect();
    let address = shown[0].rsplit('/').next().unwrap().to_owned();
    let password = shown.last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let shown: Vec<String> = shown.iter().map(|line| line.replace(&address, ADDRESS)).collect();
    assert_shows(&first, &shown);

    let mut shell =
        Command::new("bash").current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut commands = 0;
    for step in steps {
        let command = step.command.replace(ADDRESS, &address).replace("PASSWORD=…", &format!("PASSWORD='{password}'"));
        writeln!(input, "{command}\necho --done--").unwrap();
        let shown: Vec<String> = output.by_ref().map(Result::unwrap).take_while(|line| line != "--done--").collect();
        assert_shows(&step, &shown);
        commands += 1;
    }
    drop(input);
    assert!(shell.wait().unwrap().success());
    assert!(commands >= 8, "the README shows only {commands} commands");
}
