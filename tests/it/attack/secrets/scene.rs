//! Servers with passwords, and a record of the secrets and of all output.

use std::{fs, os::unix::fs::PermissionsExt as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::{Client, Method};
use serde_json::json;

use super::{CHANGED, RIGHT, WRONG};
use latchkey_testkit::{
    Answer, Place,
    servers::own::{OwnPostgres, OwnRedis},
};

const DATABASE: &str = "dbPassw0rdNeverLogged";
const REDIS: &str = "redisPassw0rdNeverLogged";

/// Servers with passwords, and the secrets that must not occur in any output.
pub(super) struct Scene {
    pub(super) place: Place,
    pub(super) postgres: OwnPostgres,
    _redis: OwnRedis,
    /// Output of all commands and of the server.
    pub(super) printed: String,
    pub(super) secrets: Vec<(String, String)>,
    client: Client,
    pub(super) url: String,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let place = Place::new();
        // The user of the test's Postgres must be able to read this file.
        let rules = place.write(
            "hba",
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
        );
        fs::set_permissions(rules.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&rules, fs::Permissions::from_mode(0o644)).unwrap();
        let postgres = OwnPostgres::start_with(&[&format!("-chba_file={}", rules.display())]).await;
        postgres
            .execute(&format!(
                "CREATE ROLE latchkey SUPERUSER LOGIN PASSWORD '{DATABASE}'"
            ))
            .await;
        let redis = OwnRedis::start().await;
        let () = redis.ask(&["CONFIG", "SET", "requirepass", REDIS]).await;
        let database = postgres
            .url()
            .replace("postgres@", &format!("latchkey:{DATABASE}@"));
        let cache = redis.url().replace("//", &format!("//:{REDIS}@"));
        let place = place
            .with("DATABASE_URL", &database)
            .with("REDIS_URL", &cache);
        let place = place
            .with("LATCHKEY_LOG", "trace")
            .with("LATCHKEY_LOG_FORMAT", "json")
            .with("RUST_LOG", "trace");
        let secrets = [
            ("right", RIGHT),
            ("changed", CHANGED),
            ("wrong", WRONG),
            ("database", DATABASE),
            ("redis", REDIS),
        ];
        let secrets = secrets
            .map(|(name, text)| (format!("the {name} password"), text.to_owned()))
            .to_vec();
        Self {
            place,
            postgres,
            _redis: redis,
            printed: String::new(),
            secrets,
            client: Client::new(),
            url: String::new(),
        }
    }

    /// Runs a command and keeps its output.
    pub(super) fn run(&mut self, words: &str, input: &str) -> String {
        let outcome = self.place.run_with_input(words, input);
        self.printed.push_str(&outcome.out);
        self.printed.push_str(&outcome.err);
        assert!(
            outcome.code == Some(0) || words.contains("unknown"),
            "{words}: {outcome:?}"
        );
        outcome.out
    }

    pub(super) fn keep(&mut self, name: &str, token: &str) {
        self.secrets.push((name.to_owned(), token.to_owned()));
        for segment in token.split('.').filter(|segment| segment.len() > 12) {
            self.secrets
                .push((format!("a segment of {name}"), segment.to_owned()));
        }
    }

    /// Adds the keys as secrets: lines of their files, and their bytes in several encodings. File
    /// names begin with a year.
    pub(super) fn keep_keys(&mut self) {
        let names: Vec<String> = self
            .place
            .files()
            .into_iter()
            .filter(|name| name.starts_with("keys/2"))
            .collect();
        assert_eq!(names.len(), 2, "expected one key for each kind: {names:?}");
        for name in names {
            let text = fs::read_to_string(self.place.path(&name)).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('-') && line.len() > 8)
                .collect();
            assert!(!lines.is_empty(), "{name}");
            let mut bytes = STANDARD.decode(lines.concat()).unwrap();
            if name.contains("-refresh-") {
                // The secret is always at the end.
                bytes = bytes.split_off(bytes.len() - 32);
                self.secrets.push((name.clone(), STANDARD.encode(&bytes)));
            }
            for line in lines {
                self.secrets.push((name.clone(), line.to_owned()));
            }
            self.secrets
                .push((name.clone(), URL_SAFE_NO_PAD.encode(&bytes)));
            self.secrets.push((name.clone(), hex(&bytes)));
            self.secrets.push((
                name.clone(),
                format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
            ));
        }
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.client.request(
            method.parse::<Method>().unwrap(),
            format!("{}{path}", self.url),
        );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Answer::read(request.body(body.to_owned()).send().await.unwrap()).await;
        assert_ne!(answer.status, 500, "{method} {path}");
        answer
    }

    pub(super) async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            &body.to_string(),
        )
        .await
    }

    pub(super) async fn signed_in(&mut self, password: &str) -> (String, String) {
        let pair = self
            .post(
                "/api/token/",
                &json!({ "username": "ada", "password": password }),
            )
            .await
            .pair();
        self.keep("an access token", &pair.access);
        self.keep("a refresh token", &pair.refresh);
        (pair.access, pair.refresh)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
