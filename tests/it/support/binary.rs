//! The real program in a folder of its own, with no environment but what a test sets.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Backend, Outcome, Pair, servers};

/// How long anything may take before the test gives up: much more than it ever does.
const DEADLINE: Duration = Duration::from_mins(1);

/// A working directory, and the environment of what runs in it.
pub struct Place {
    environment: Vec<(String, String)>,
    folder: TempDir,
}

impl Place {
    /// An empty folder and an empty environment: what a newcomer has.
    pub fn new() -> Self {
        Self {
            environment: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The same, with a database and a part of Redis if the backend asks for them.
    pub async fn on(backend: Backend) -> Self {
        let place = Self::new();
        match backend {
            Backend::Embedded => place,
            Backend::PostgresAndRedis => place
                .with("DATABASE_URL", &servers::fresh_database().await)
                .with("REDIS_URL", &servers::redis_url())
                .with("LATCHKEY_REDIS_PREFIX", &servers::unique("cli")),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the value of a variable that is set.
    pub fn variable(&self, name: &str) -> String {
        self.environment
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    }

    /// Returns the name of its database on the shared Postgres.
    pub fn database(&self) -> String {
        let (_, url) = self
            .environment
            .iter()
            .find(|(name, _)| name == "DATABASE_URL")
            .unwrap();
        url.rsplit('/').next().unwrap().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that its owner alone can read, as secrets have to be; one that is there keeps its mode.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.write_bytes(name, text.as_bytes())
    }

    /// As [`Place::write`], with bytes that may not be text.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(bytes).unwrap();
        path
    }

    /// The names of all files below the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let (mut folders, mut names) = (vec![self.folder.path().to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    names.push(
                        path.strip_prefix(&self.folder)
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        names.sort();
        names
    }

    /// The permissions of a file.
    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The user that tests run as.
    pub fn user_id(&self) -> u32 {
        fs::metadata(self.folder.path()).unwrap().uid()
    }

    /// Runs `latchkey` as an unprivileged user who owns the folder: another user if the tests run as root, else the
    /// same one.
    pub fn command_of_service(&self, words: &str) -> Command {
        const NOBODY: u32 = 65534;
        let mut command = self.command(words);
        if self.user_id() == 0 {
            for name in self.files() {
                chown(self.path(&name), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            chown(self.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs `latchkey` in a shell with the umask 0.
    pub fn run_unmasked(&self, words: &str, input: &str) -> Outcome {
        let plain = self.command(words);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "umask 000; exec \"$0\" \"$@\""])
            .arg(plain.get_program())
            .args(plain.get_args());
        command.current_dir(self.folder.path()).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Self::outcome(command, words, input)
    }

    /// Runs `latchkey` with these words and nothing to read.
    pub fn run(&self, words: &str) -> Outcome {
        self.run_with_input(words, "")
    }

    /// Runs `latchkey` with these words and this on its standard input, which is no terminal.
    pub fn run_with_input(&self, words: &str, input: &str) -> Outcome {
        self.run_with_bytes(words, input.as_bytes())
    }

    /// As [`Place::run_with_input`], with bytes that may not be text.
    pub fn run_with_bytes(&self, words: &str, input: &[u8]) -> Outcome {
        Self::outcome(self.command(words), words, input)
    }

    /// As above, with arbitrary arguments after the words.
    pub fn run_with_arguments(&self, words: &str, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(words);
        command.args(arguments);
        Self::outcome(command, words, input)
    }

    /// Runs a command that [`Place::command`] or [`Place::command_of_service`] made.
    pub fn outcome(mut command: Command, words: &str, input: impl AsRef<[u8]>) -> Outcome {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        // The program may end without having read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let (send, ended) = mpsc::channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(DEADLINE) else {
            signal("KILL", pid);
            panic!("latchkey {words} does not end");
        };
        let output = output.unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let is_place = |line: &&str| {
            ["database: ", "keys: ", "not in the audit trail: "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let (changed, lines): (Vec<_>, Vec<_>) = out.split_inclusive('\n').partition(is_place);
        Outcome {
            code: output.status.code(),
            changed: changed.concat(),
            out: lines.concat(),
            err: String::from_utf8(output.stderr).unwrap(),
            words: words.to_owned(),
        }
    }

    /// Creates the database.
    pub fn migrated(self) -> Self {
        self.run("migrate run").done();
        self
    }

    /// Makes a user who signs in with `password`, and before it the database if there is none.
    pub fn user(&self, name: &str, password: &str) {
        assert_eq!(self.run("migrate run").code, Some(0));
        self.run_with_input(&format!("users create {name} --password-stdin"), password)
            .done();
    }

    /// Starts a server on a free port and waits until it listens.
    pub fn serve(&self, flags: &str) -> Server {
        self.starting(flags).listening()
    }

    /// Starts a server on this address and waits until it listens.
    pub fn serve_at(&self, address: SocketAddr, flags: &str) -> Server {
        self.started(self.command(&format!("serve --bind {address} {flags}")))
            .listening()
    }

    /// Starts a server on a free port and does not wait for it.
    pub fn starting(&self, flags: &str) -> Server {
        self.started(self.command(&format!("serve --bind 127.0.0.1:0 {flags}")))
    }

    /// Starts a server that ignores a signal, as its shell does, and waits until it listens.
    pub fn serve_ignoring(&self, signal: &str) -> Server {
        let plain = self.command("serve --bind 127.0.0.1:0");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("trap '' {signal}; exec \"$0\" \"$@\"")])
            .arg(plain.get_program());
        command
            .args(plain.get_args())
            .current_dir(self.folder.path())
            .env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.started(command).listening()
    }

    /// Starts a server by a command that [`Place::command_of_service`] made, and does not wait for it.
    pub fn started(&self, mut command: Command) -> Server {
        let log = self.folder.path().join(servers::unique("log"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        Server {
            child: Some(child),
            client: Client::new(),
            lines,
            log,
            printed: Vec::new(),
            url: String::new(),
        }
    }

    /// `latchkey` with these words, not yet started.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
        command
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Returns the URL in the line with which a server says that it listens, in either form of the log.
pub fn address(line: &str) -> Option<String> {
    match serde_json::from_str::<Value>(line) {
        Ok(event) if event["message"] == "listening" => {
            event["url"].as_str().map(ToOwned::to_owned)
        }
        Ok(_) => None,
        Err(_) => line
            .strip_prefix("Latchkey listens on ")
            .map(ToOwned::to_owned),
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    pub url: String,
    /// The lines that it has printed and that were read.
    pub printed: Vec<String>,
    child: Option<Child>,
    client: Client,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Server {
    /// Waits until it listens.
    pub fn listening(mut self) -> Self {
        self.url = loop {
            let line = self.read_line("the address");
            if let Some(url) = address(&line) {
                break url;
            }
        };
        self
    }

    /// Reads what it prints, up to the line that begins so.
    pub fn read_until(&mut self, beginning: &str) -> String {
        loop {
            let line = self.read_line(beginning);
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    fn read_line(&mut self, expected: &str) -> String {
        let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
            panic!(
                "no line with {expected:?}: {:?} {}",
                self.printed,
                self.log()
            );
        };
        self.printed.push(line.clone());
        line
    }

    /// Returns the id of its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        Answer::read(request.body(body.to_string()).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::read(
            self.client
                .get(format!("{}{path}", self.url))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn obtain(&self, username: &str, password: &str) -> Answer {
        self.post(
            "/api/token/",
            &json!({ "username": username, "password": password }),
        )
        .await
    }

    /// Signs in.
    pub async fn pair(&self, username: &str, password: &str) -> Pair {
        self.obtain(username, password).await.pair()
    }

    pub async fn verify(&self, token: &str) -> Answer {
        self.post("/api/token/verify/", &json!({ "token": token }))
            .await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/token/refresh/", &json!({ "refresh": token }))
            .await
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Sends a signal and waits for the end; also gives the rest of what it printed.
    pub fn stop(mut self, name: &str) -> (ExitStatus, Vec<String>) {
        let mut child = self.child.take().unwrap();
        let pid = child.id();
        signal(name, pid);
        let (send, ended) = mpsc::channel();
        thread::spawn(move || send.send(child.wait()));
        let Ok(status) = ended.recv_timeout(Duration::from_secs(8)) else {
            signal("KILL", pid);
            panic!("SIG{name} does not stop the server: {}", self.log());
        };
        // The channel closes when the output does.
        self.printed.extend(self.lines.iter());
        (status.unwrap(), std::mem::take(&mut self.printed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
}
