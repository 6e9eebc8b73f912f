//! PyJWT, Django and jose, installed once in the target directory in the versions that `examples`
//! pins.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{repository, target};

/// Verifier in another language.
pub struct Verifier {
    program: PathBuf,
    script: PathBuf,
}

impl Verifier {
    /// Python with PyJWT.
    pub fn pyjwt() -> Self {
        Self::python("verify.py")
    }

    /// Node with jose.
    pub fn jose() -> Self {
        Self::node("verify.mjs")
    }

    /// Python with PyJWT and another script of `examples/python-pyjwt`.
    pub fn python(script: &str) -> Self {
        Self {
            program: python_of("python-pyjwt"),
            script: example("python-pyjwt").join(script),
        }
    }

    /// Python with Django and this script.
    pub fn django(script: PathBuf) -> Self {
        Self {
            program: python_of("django"),
            script,
        }
    }

    /// Node with jose and another script of `examples/node-jose`.
    pub fn node(script: &str) -> Self {
        let program = require("node", "nodejs");
        let npm = require("npm", "npm");
        // Node resolves imports from the folder of the script, so the script is copied beside the
        // modules.
        let home = installed(
            "node-jose",
            &[
                "package.json",
                "package-lock.json",
                "caching.mjs",
                "verify.mjs",
            ],
            |home| {
                let ci = [
                    "ci",
                    "--silent",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ];
                run(
                    Command::new(&npm).args(ci).current_dir(home),
                    "a connection to npm's registry",
                );
            },
        );
        Self {
            program,
            script: home.join(script),
        }
    }

    /// Returns the program with its script, without arguments.
    pub fn command(&self) -> Command {
        let mut command = self.interpreter();
        command.arg(&self.script);
        command
    }

    /// Returns the path of the interpreter.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the path of the script.
    pub fn script(&self) -> &Path {
        &self.script
    }

    /// Returns the program without the script.
    pub fn interpreter(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Settings such as a proxy must not affect the connection to the server.
        command.env_clear();
        command
    }
}

/// Returns the path of a program. Fails with the package to install.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs servers in /usr/sbin, which may not be in PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed: install {package}"))
}

/// Returns a folder of `examples`.
pub fn example(name: &str) -> PathBuf {
    repository().join("examples").join(name)
}

/// Returns the Python of a virtual environment with the requirements of this example.
fn python_of(name: &str) -> PathBuf {
    let program = require("python3", "python3 and python3-venv");
    let home = installed(name, &["requirements.txt"], |home| {
        run(
            Command::new(&program)
                .args(["-m", "venv", "venv"])
                .current_dir(home),
            "python3-venv",
        );
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            "requirements.txt",
        ];
        run(
            Command::new(home.join("venv/bin/python"))
                .args(pip)
                .current_dir(home),
            "a connection to PyPI",
        );
    });
    home.join("venv/bin/python")
}

/// Returns a folder in the target directory with copies of these files of an example, after
/// `install` has run in it.
///
/// `install` runs again only if a file changes. Concurrent tests wait for each other.
fn installed(name: &str, files: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    let cache = target().join("interop");
    fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let (home, done) = (cache.join(name), cache.join(name).join("installed"));
    let source = example(name);
    let wanted: String = files
        .iter()
        .map(|file| fs::read_to_string(source.join(file)).unwrap())
        .collect();
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return home;
    }
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    for file in files {
        fs::copy(source.join(file), home.join(file)).unwrap();
    }
    install(&home);
    fs::write(done, wanted).unwrap();
    home
}

/// Runs a command. Fails unless it succeeds.
pub fn run(command: &mut Command, need: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} failed: it needs {need}: {text}"
    );
}
