//! A working directory and an environment, in which a test runs `latchkey`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use tempfile::TempDir;

use super::{
    super::{Backend, Http, Outcome, program, servers},
    COMMAND_TIMEOUT, Server, signal,
};

/// A working directory and an environment for commands.
pub struct Place {
    environment: Vec<(String, String)>,
    folder: Arc<TempDir>,
}

impl Place {
    /// Creates an empty folder with an empty environment, as for a new user.
    pub fn new() -> Self {
        Self {
            environment: Vec::new(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Creates an empty folder, with a new database and Redis key prefix if the backend needs them.
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

    /// Sets a variable of the environment.
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

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can read, as secrets require. An existing file keeps its
    /// mode.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.write_bytes(name, text.as_bytes())
    }

    /// [`Place::write`] with bytes that may not be text.
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

    /// Returns the sorted names of all files below the folder.
    pub fn files(&self) -> Vec<String> {
        let (mut folders, mut names) = (vec![self.folder.path().to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    names.push(
                        path.strip_prefix(self.folder.path())
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

    /// Returns the permission bits of a file.
    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// Changes the mode of a file in the folder.
    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Returns the id of the user that runs the tests.
    pub fn user_id(&self) -> u32 {
        fs::metadata(self.folder.path()).unwrap().uid()
    }

    /// Returns the command `latchkey` as an unprivileged user who owns the folder: another user if
    /// the tests run as root, else the same one.
    pub fn command_of_service(&self, words: &str) -> Command {
        const UNPRIVILEGED: u32 = 65534;
        let mut command = self.command(words);
        if self.user_id() == 0 {
            for name in self.files() {
                chown(self.path(&name), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
            }
            chown(self.folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
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

    /// Runs `latchkey` with these words and an empty standard input.
    pub fn run(&self, words: &str) -> Outcome {
        self.run_with_input(words, "")
    }

    /// Runs `latchkey` with these words and this standard input, which is not a terminal.
    pub fn run_with_input(&self, words: &str, input: &str) -> Outcome {
        self.run_with_bytes(words, input.as_bytes())
    }

    /// [`Place::run_with_input`] with bytes that may not be text.
    pub fn run_with_bytes(&self, words: &str, input: &[u8]) -> Outcome {
        Self::outcome(self.command(words), words, input)
    }

    /// Runs `latchkey` with these words and further arguments, which may contain spaces.
    pub fn run_with_arguments(&self, words: &str, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(words);
        command.args(arguments);
        Self::outcome(command, words, input)
    }

    /// Runs a command of [`Place::command`] or [`Place::command_of_service`].
    pub fn outcome(mut command: Command, words: &str, input: impl AsRef<[u8]>) -> Outcome {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        // The program may end before it reads its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let (send, ended) = mpsc::channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(COMMAND_TIMEOUT) else {
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

    /// Creates a user who signs in with `password`, and the database if it does not exist.
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

    /// Starts a server that ignores a signal, which it inherits from a shell, and waits until it
    /// listens.
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

    /// Starts a server by a command of [`Place::command_of_service`], and does not wait for it.
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
            _folder: Arc::clone(&self.folder),
            child: Some(child),
            http: Http::new(String::new()),
            lines,
            log,
            printed: Vec::new(),
            url: String::new(),
        }
    }

    /// Returns the command `latchkey` with these words, not yet started.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(program());
        command
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
