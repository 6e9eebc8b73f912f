//! Console blocks of the README. Each `$ ` line runs in one shell, and its output is compared with
//! the lines below it, in which `…` matches anything.
//!
//! The server has no reuse grace, so a spent refresh token is a reuse at once. The commands
//! therefore also work after the grace.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use regex::Regex;

/// Flag with which each refresh token is accepted once, as after the reuse grace.
const NO_GRACE: &str = "--refresh-reuse-grace=0s";
const SERVE: &str = "cargo run --release -- serve";
const ADDRESS: &str = "127.0.0.1:8000";

/// Command and its expected output.
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
                Some(command) => steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => steps.last_mut().unwrap().output.push(line.to_owned()),
            },
            (false, _) => {}
        }
    }
    steps
}

fn assert_shows(step: &Step, shown: &[String]) {
    for (expected, line) in step.output.iter().zip(shown) {
        let pattern = expected
            .split('…')
            .map(regex::escape)
            .collect::<Vec<_>>()
            .join(".*");
        assert!(
            Regex::new(&format!("^{pattern}$")).unwrap().is_match(line),
            "$ {}\n{expected}\n{line}",
            step.command
        );
    }
    assert_eq!(
        step.output.len(),
        shown.len(),
        "$ {}\n{shown:?}",
        step.command
    );
}

struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts the program on a free port.
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
        command.args(["serve", "--bind", "127.0.0.1:0", NO_GRACE]);
        Self::run(command, folder)
    }

    /// Starts the program on a pseudo-terminal.
    fn start_on_a_terminal(folder: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_latchkey");
        let mut command = Command::new("script");
        command.args([
            "-qfec",
            &format!("{program} serve --bind 127.0.0.1:0 {NO_GRACE} 2>/dev/null"),
            "/dev/null",
        ]);
        Self::run(command, folder)
    }

    fn run(mut command: Command, folder: &Path) -> Self {
        let command = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn read(&mut self, lines: usize) -> Vec<String> {
        self.lines
            .by_ref()
            .take(lines)
            .map(|line| line.unwrap().trim_end().to_owned())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shell that runs all commands.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: std::io::Lines<BufReader<ChildStdout>>,
}

impl Shell {
    fn start(program: &str, folder: &Path) -> Self {
        let mut command = Command::new(program);
        let mut child = command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take().unwrap(),
            output,
            child,
        }
    }

    /// Runs a command, and returns its output.
    fn run(&mut self, command: &str) -> Vec<String> {
        writeln!(self.input, "{command}\necho --done--").unwrap();
        self.output
            .by_ref()
            .map(Result::unwrap)
            .take_while(|line| line != "--done--")
            .collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn readme_commands_work_after_the_grace() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut steps = steps(&readme).into_iter();
    let folder = tempfile::tempdir().unwrap();

    // The server shows the password only on a terminal.
    let first = steps.next().unwrap();
    assert_eq!(first.command, SERVE);
    let mut server = Server::start_on_a_terminal(folder.path());
    let shown = server.read(first.output.len());
    let address = shown[0].rsplit('/').next().unwrap().to_owned();
    let password = shown.last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let shown: Vec<String> = shown
        .iter()
        .map(|line| line.replace(&address, ADDRESS))
        .collect();
    assert_shows(&first, &shown);

    let mut shell = Shell::start("bash", folder.path());
    let mut commands = 0;
    for step in steps {
        let command = step
            .command
            .replace(ADDRESS, &address)
            .replace("PASSWORD=…", &format!("PASSWORD='{password}'"));
        assert_shows(&step, &shell.run(&command));
        commands += 1;
    }
    assert!(commands >= 8, "the README shows only {commands} commands");
}

/// Each block runs twice in each shell: the second refresh sends the token of the first.
#[test]
fn first_start_commands_work_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let banner: Vec<String> = server
        .lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("This is the embedded"))
        .collect();
    let blocks: Vec<&[String]> = banner
        .split(|line| !line.starts_with("    "))
        .filter(|block| !block.is_empty())
        .collect();
    let [_, obtain, verify, refresh] = blocks[..] else {
        panic!("{banner:#?}")
    };
    for program in ["bash", "sh"] {
        let mut shell = Shell::start(program, folder.path());
        for block in [obtain, verify, refresh, verify, refresh, verify] {
            let shown: Vec<String> = block.iter().flat_map(|line| shell.run(line)).collect();
            let body = if block == verify {
                r"\{\}"
            } else {
                r#"\{("(access|refresh)":"eyJ[^"]+",?){2}\}"#
            };
            let head = if block == obtain {
                ""
            } else {
                r"HTTP/1\.1 200 OK\n.*\n"
            };
            let shown = shown.join("\n").replace('\r', "");
            assert!(
                Regex::new(&format!("(?s)^{head}{body}$"))
                    .unwrap()
                    .is_match(&shown),
                "{program}: {block:#?}\n{shown}"
            );
        }
    }
}
