//! Folders of `examples`: the commands in each README work.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{
    PASSWORD, django, documents, example,
    nginx::{self, Nginx},
    verifier::{self, Verifier, require},
};
use latchkey_testkit::{Place, Server};

/// Names each folder of `examples` with its guide and a test of its commands.
macro_rules! each_example {
    ($($test:ident: $folder:literal in $guide:literal, |$sample:ident| $commands:expr;)*) => {
        /// Each folder of `examples`, and the guide that explains it.
        pub const EXAMPLES: &[(&str, &str)] = &[$(($folder, $guide)),*];

        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let $sample = &Sample::start($folder).await;
            $commands;
        })*
    };
}

each_example! {
    commands_of_django_work: "django" in "from-simplejwt.md", |sample| django_shows_the_user(sample);
    commands_of_nginx_work: "nginx" in "nginx.md", |sample| nginx_forwards(sample).await;
    commands_of_node_jose_work: "node-jose" in "verify-offline.md", |sample| node_prints_the_claims(sample);
    commands_of_python_pyjwt_work: "python-pyjwt" in "verify-offline.md", |sample| python_prints_the_claims(sample);
    commands_of_rust_verifier_work: "rust-verifier" in "verify-offline.md", |sample| rust_prints_the_claims(sample);
}

/// Server with a user and an access token, and the two commands of a README.
struct Sample {
    access: String,
    commands: [String; 2],
    id: String,
    place: Place,
    server: Server,
}

impl Sample {
    async fn start(folder: &str) -> Self {
        let place = Place::new();
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let [block] = documents::blocks(&format!("examples/{folder}/README.md"), "sh")
            .try_into()
            .unwrap();
        let commands: Vec<_> = block
            .lines()
            .map(|line| line.replace("http://127.0.0.1:8000", &server.url))
            .collect();
        Self {
            access: server.pair("ada", PASSWORD).await.access,
            commands: commands.try_into().unwrap(),
            id: place.run("users show ada --json").json()["id"]
                .as_str()
                .unwrap()
                .to_owned(),
            place,
            server,
        }
    }

    /// Runs a command in this folder, with a program that is found first. Returns its output.
    fn run(&self, command: &str, folder: &Path, program: &Path) -> String {
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
        let output = Command::new("sh")
            .args(["-c", command])
            .env_clear()
            .env("PATH", path)
            .env("ACCESS", &self.access)
            .env("USER_ID", &self.id)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn assert_prints_the_claims(&self, printed: &str) {
        let claims: Value = serde_json::from_str(printed).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!(self.server.url), &json!(self.id)),
            "{printed}"
        );
    }
}

fn django_shows_the_user(sample: &Sample) {
    let [install, view] = &sample.commands;
    assert_eq!(install, "pip install -r requirements.txt");
    let copy = django::copied(&sample.place, &sample.server);
    let python = Verifier::django(copy.clone());
    let printed = sample.run(view, copy.parent().unwrap(), python.program());
    assert_eq!(printed, "[200, \"ada\"]\n");
}

/// The test replaces the folder of nginx and the reload, which need root.
async fn nginx_forwards(sample: &Sample) {
    let [copy, reload] = &sample.commands;
    assert_eq!(reload, "sudo nginx -t && sudo systemctl reload nginx");
    let copy = copy.strip_prefix("sudo ").unwrap();
    let copied = sample.place.path("latchkey.conf");
    let copy = documents::with(
        copy,
        "/etc/nginx/conf.d/latchkey.conf",
        copied.to_str().unwrap(),
    );
    sample.run(
        &copy,
        &verifier::example("nginx"),
        &require("cp", "coreutils"),
    );
    let nginx = Nginx::with_file(&copied, &[nginx::address(&sample.server.url)], &[]).await;
    let keys = sample.server.get("/.well-known/jwks.json").await;
    assert_eq!(
        nginx.curl("/.well-known/jwks.json", &[]).json(),
        keys.json()
    );
}

fn node_prints_the_claims(sample: &Sample) {
    let [install, verify] = &sample.commands;
    assert_eq!(install, "npm ci");
    let node = Verifier::jose();
    let printed = sample.run(verify, node.script().parent().unwrap(), node.program());
    sample.assert_prints_the_claims(&printed);
}

fn python_prints_the_claims(sample: &Sample) {
    let [install, verify] = &sample.commands;
    assert_eq!(install, "pip install -r requirements.txt");
    let python = Verifier::pyjwt();
    let folder = verifier::example("python-pyjwt");
    let printed = sample.run(verify, &folder, python.program());
    sample.assert_prints_the_claims(&printed);
}

/// The test replaces `cargo run` with the program, which is built with the features of the
/// workspace.
fn rust_prints_the_claims(sample: &Sample) {
    let [fetch, verify] = &sample.commands;
    let folder = sample.place.path("");
    sample.run(fetch, &folder, &require("curl", "curl"));
    let program = PathBuf::from(example::built());
    let verify = documents::with(
        verify,
        "cargo run -p latchkey-verifier --example verify --",
        "verify",
    );
    sample.assert_prints_the_claims(&sample.run(&verify, &folder, &program));
}
