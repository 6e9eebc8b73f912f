//! The real program in a temporary folder, with only the environment that a test sets.

mod place;

use std::{
    fs,
    ops::Deref,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

pub use self::place::Place;
use super::{Http, Pair};

/// Timeout of a command or of a line of output. It is far longer than either takes.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// Returns the URL in the line with which a server reports that it listens, in either log format.
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
    /// URL that the server reported.
    pub url: String,
    /// Lines of standard output that were read.
    pub printed: Vec<String>,
    child: Option<Child>,
    /// Working directory. It must exist as long as the server.
    _folder: Arc<TempDir>,
    http: Http,
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
        self.http.base.clone_from(&self.url);
        self
    }

    /// Reads standard output up to a line with this beginning, and returns the line.
    pub fn read_until(&mut self, beginning: &str) -> String {
        loop {
            let line = self.read_line(beginning);
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    fn read_line(&mut self, expected: &str) -> String {
        let Ok(line) = self.lines.recv_timeout(COMMAND_TIMEOUT) else {
            panic!(
                "no line with {expected:?}: {:?} {}",
                self.printed,
                self.log()
            );
        };
        self.printed.push(line.clone());
        line
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns the log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Signs in.
    pub async fn pair(&self, username: &str, password: &str) -> Pair {
        self.obtain(username, password).await.pair()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Sends a signal and waits for the end. Returns the status and all lines of standard output.
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

impl Deref for Server {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
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
