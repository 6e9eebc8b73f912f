//! No password, no token and no key is ever logged or kept in the audit trail, whatever a client does and however much
//! is logged.

use std::{fs, os::unix::fs::PermissionsExt as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use latchkey::ports::{Clock as _, clock::SystemClock};
use reqwest::{Client, Method};
use serde_json::json;

use crate::support::{
    Answer, Forge, Place,
    servers::own::{OwnPostgres, OwnRedis},
    sid,
};

const ISSUER: &str = "https://auth.test";
const RIGHT: &str = "Tr0mbone-walnut-4711";
const CHANGED: &str = "Gl0ckenspiel-quince-0815";
const WRONG: &str = "wr0ng-Kazoo-Persimmon";
const DATABASE: &str = "dbPassw0rdNobodyLogs";
const REDIS: &str = "redisPassw0rdNobodyLogs";

/// Servers that ask for a password, and one place for what they must not see again.
struct Scene {
    place: Place,
    postgres: OwnPostgres,
    _redis: OwnRedis,
    /// All that was printed.
    printed: String,
    secrets: Vec<(String, String)>,
    client: Client,
    url: String,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::new();
        // The servant of a test's Postgres reads this file, too.
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

    /// Runs a command and keeps what it says.
    fn run(&mut self, words: &str, input: &str) -> String {
        let outcome = self.place.run_with_input(words, input);
        self.printed.push_str(&outcome.out);
        self.printed.push_str(&outcome.err);
        assert!(
            outcome.code == Some(0) || words.contains("nobody"),
            "{words}: {outcome:?}"
        );
        outcome.out
    }

    fn keep(&mut self, name: &str, token: &str) {
        self.secrets.push((name.to_owned(), token.to_owned()));
        for segment in token.split('.').filter(|segment| segment.len() > 12) {
            self.secrets
                .push((format!("a segment of {name}"), segment.to_owned()));
        }
    }

    /// Keys (the name of each begins with its year) as they lie in their files, as their text says they are, and as bytes in other spellings.
    fn keep_keys(&mut self) {
        let names: Vec<String> = self
            .place
            .files()
            .into_iter()
            .filter(|name| name.starts_with("keys/2"))
            .collect();
        assert_eq!(names.len(), 2, "one for each kind of token: {names:?}");
        for name in names {
            let text = fs::read_to_string(self.place.path(&name)).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('-') && line.len() > 8)
                .collect();
            assert!(!lines.is_empty(), "{name}");
            let mut bytes = STANDARD.decode(lines.concat()).unwrap();
            if name.contains("-refresh-") {
                // However it is wrapped, the secret is the end.
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

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
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

    async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            &body.to_string(),
        )
        .await
    }

    async fn signed_in(&mut self, password: &str) -> (String, String) {
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

    /// Tokens and passwords where nobody expects them.
    async fn misplaced(&self, token: &str) {
        let header = [
            ("authorization", format!("Bearer {token}")),
            ("cookie", format!("access={token}; refresh={token}")),
        ];
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let json = [("content-type", "application/json")];
        for path in [
            format!("/{token}"),
            format!("/api/token/{token}/"),
            format!("/api/token/?token={token}"),
            format!("/api/auth/sessions/{token}/"),
            format!("/metrics/{token}"),
            "/api/token/refresh/".to_owned(),
            "/api/auth/user/".to_owned(),
            "/api/auth/logout/".to_owned(),
        ] {
            for method in ["GET", "POST", "DELETE", token] {
                self.send(method, &path, &headers, "").await;
                self.send(method, &path, &[("authorization", token)], token)
                    .await;
            }
            self.send("POST", &path, &json, &format!("{{\"refresh\":\"{token}\""))
                .await;
            self.send("POST", &path, &[("content-type", token)], token)
                .await;
            self.send("POST", &path, &[("content-encoding", token)], token)
                .await;
            // A short word is the caller's own name for the request, which is logged for the caller to find.
            if token.len() > 64 {
                self.send("POST", &path, &[("x-request-id", token)], token)
                    .await;
            }
        }
        for path in [
            "/api/token/",
            "/api/token/refresh/",
            "/api/token/verify/",
            "/api/token/blacklist/",
            "/api/auth/logout/",
        ] {
            for body in [
                json!({ "username": token, "password": token }),
                json!({ "refresh": token, "token": token }),
                json!([token]),
                json!({ token: token }),
                json!({ "refresh": [token], "token": { "x": token }, "username": [token] }),
            ] {
                self.post(path, &body).await;
            }
            self.send(
                "POST",
                path,
                &[("content-type", "application/x-www-form-urlencoded")],
                &format!("{token}={token}"),
            )
            .await;
            self.send(
                "POST",
                path,
                &[("content-type", "multipart/form-data; boundary=x")],
                &format!("--x\r\n{token}"),
            )
            .await;
        }
    }

    async fn story(&mut self) {
        let (access, refresh) = self.signed_in(RIGHT).await;
        for name in ["ada", "ghost", RIGHT, WRONG] {
            assert_eq!(
                self.post(
                    "/api/token/",
                    &json!({ "username": name, "password": WRONG })
                )
                .await
                .status,
                401
            );
        }
        self.post(
            "/api/token/",
            &json!({ "username": "ada", "password": WRONG.repeat(100) }),
        )
        .await;
        let next = self
            .post("/api/token/refresh/", &json!({ "refresh": refresh }))
            .await
            .pair();
        let again = self
            .post("/api/token/refresh/", &json!({ "refresh": refresh }))
            .await
            .pair();
        for token in [&next.access, &next.refresh, &again.access] {
            self.keep("a refreshed token", token);
        }
        let bearer = format!("Bearer {access}");
        for path in [
            "/api/auth/user/",
            "/api/auth/sessions/",
            "/.well-known/jwks.json",
            "/.well-known/openid-configuration",
            "/health/live",
            "/health/ready",
            "/metrics",
        ] {
            assert_eq!(
                self.send("GET", path, &[("authorization", &bearer)], "")
                    .await
                    .status,
                200,
                "{path}"
            );
        }
        for token in [&access, &next.refresh] {
            assert_eq!(
                self.post("/api/token/verify/", &json!({ "token": token }))
                    .await
                    .status,
                200
            );
        }
        let forge = Forge::new(
            &self.place.path("keys"),
            ISSUER,
            SystemClock.now().timestamp(),
        );
        let mut bad = vec![
            "x".repeat(15_000),
            format!("{access}{}", "A".repeat(9000)),
            access.replace('.', ".."),
        ];
        for (kind, token) in [
            (latchkey_verifier::Kind::Access, &access),
            (latchkey_verifier::Kind::Refresh, &next.refresh),
        ] {
            for changes in [
                json!({ "sub": "somebody" }),
                json!({ "exp": 1 }),
                json!({ "jti": null }),
                json!({ "sid": "x" }),
                json!({ "iss": "x" }),
            ] {
                bad.push(forge.altered(token, kind, &changes));
            }
        }
        for token in &bad {
            self.keep("a bad token", token);
            for path in [
                "/api/token/verify/",
                "/api/token/refresh/",
                "/api/token/blacklist/",
                "/api/auth/logout/",
            ] {
                self.post(path, &json!({ "token": token, "refresh": token }))
                    .await;
            }
            let header = format!("Bearer {token}");
            self.send("GET", "/api/auth/user/", &[("authorization", &header)], "")
                .await;
        }
        for token in [access.as_str(), &next.refresh, RIGHT, &bad[3]] {
            self.misplaced(token).await;
        }
        let (access, refresh) = self.signed_in(RIGHT).await;
        let (other, _) = self.signed_in(RIGHT).await;
        let one = format!("/api/auth/sessions/{}/", sid(&other));
        let bearer = format!("Bearer {access}");
        assert_eq!(
            self.send("DELETE", &one, &[("authorization", &bearer)], "")
                .await
                .status,
            204
        );
        assert_eq!(
            self.post("/api/auth/logout/", &json!({ "refresh": refresh }))
                .await
                .status,
            200
        );
        for path in [
            "/api/auth/logout/",
            "/api/token/refresh/",
            "/api/token/verify/",
        ] {
            self.post(path, &json!({ "refresh": refresh, "token": access }))
                .await;
        }
        let (access, _) = self.signed_in(RIGHT).await;
        let bearer = format!("Bearer {access}");
        assert_eq!(
            self.send(
                "POST",
                "/api/auth/logout/all/",
                &[("authorization", &bearer)],
                ""
            )
            .await
            .status,
            200
        );
        self.run("users set-password ada --password-stdin", CHANGED);
        let (access, _) = self.signed_in(CHANGED).await;
        let sid = sid(&access);
        for words in [
            "users list",
            "users show ada",
            "users deactivate ada",
            "users activate ada",
            "sessions list --user ada",
            "keys list",
            "audit",
            "audit --json",
            &format!("why {sid}"),
            "config",
            "doctor",
            "flush-expired",
            "migrate status",
            "sessions revoke --all",
            "users show nobody",
            "why nobody",
        ] {
            self.run(words, "");
        }
        self.run("users set-password nobody --password-stdin", WRONG);
    }

    /// What was printed, logged and kept.
    async fn everything(&self) -> [(&'static str, String); 2] {
        let logs: String = self
            .place
            .files()
            .iter()
            .filter(|name| name.starts_with("log_"))
            .map(|name| fs::read_to_string(self.place.path(name)).unwrap())
            .collect();
        assert!(
            logs.contains("\"level\":\"TRACE\"") && logs.lines().count() > 1000,
            "little was logged"
        );
        let client = self.postgres.client().await;
        let query = "SELECT string_agg(concat_ws(' ', at, event, cause, actor, user_id, session_id, jti, ip, user_agent, details, times), E'\\n') FROM audit_events";
        let kept: String = client.query_one(query, &[]).await.unwrap().get(0);
        assert!(
            kept.contains("sign_in_refused") && kept.contains("token_refused"),
            "{kept}"
        );
        [
            (
                "what was printed or logged",
                format!("{}{logs}", self.printed),
            ),
            ("the audit trail", kept),
        ]
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_token_or_key_is_logged_or_kept_in_the_audit_trail() {
    let mut scene = Scene::new().await;
    scene.run("migrate run", "");
    scene.run("users create ada --password-stdin", RIGHT);
    let server = scene.place.serve(&format!(
        "--log trace --log-format json --metrics-bind main --issuer {ISSUER} --audit-refreshes true"
    ));
    scene.url.clone_from(&server.url);
    scene.keep_keys();
    scene.story().await;
    let (status, printed) = server.stop("TERM");
    assert!(status.success());
    scene.printed.push_str(&printed.join("\n"));
    for (place, text) in scene.everything().await {
        for (name, secret) in &scene.secrets {
            if let Some(found) = text.find(secret.as_str()) {
                let line = text[..found].rfind('\n').map_or(0, |end| end + 1);
                panic!("{name} is in {place}: {:.600}", &text[line..]);
            }
        }
    }
}
