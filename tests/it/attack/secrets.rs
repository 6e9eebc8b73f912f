//! Passwords, tokens and keys never occur in logs, output or the audit trail, at any log level.

mod scene;

use std::fs;

use latchkey_domain::ports::{Clock as _, clock::SystemClock};
use serde_json::json;

use self::scene::Scene;
use latchkey_testkit::{Forge, sid};

const ISSUER: &str = "https://auth.test";
const RIGHT: &str = "Tr0mbone-walnut-4711";
const CHANGED: &str = "Gl0ckenspiel-quince-0815";
const WRONG: &str = "wr0ng-Kazoo-Persimmon";

impl Scene {
    /// Sends a secret in unexpected places.
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
            // A short `x-request-id` is valid, so it is logged.
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

    #[expect(clippy::too_many_lines, reason = "the requests that hold secrets")]
    async fn send_requests(&mut self) {
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
                json!({ "sub": "unknown" }),
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
            "users show unknown",
            "why unknown",
        ] {
            self.run(words, "");
        }
        self.run("users set-password unknown --password-stdin", WRONG);
    }

    /// Returns all output and logs, and the audit trail.
    async fn collected_output(&self) -> [(&'static str, String); 2] {
        let logs: String = self
            .place
            .files()
            .iter()
            .filter(|name| name.starts_with("log_"))
            .map(|name| fs::read_to_string(self.place.path(name)).unwrap())
            .collect();
        assert!(
            logs.contains("\"level\":\"TRACE\"") && logs.lines().count() > 1000,
            "the log is too short"
        );
        let client = self.postgres.client().await;
        let query = "SELECT string_agg(concat_ws(' ', at, event, cause, actor, user_id, session_id, jti, ip, user_agent, details, times), E'\\n') FROM audit_events";
        let kept: String = client.query_one(query, &[]).await.unwrap().get(0);
        assert!(
            kept.contains("sign_in_refused") && kept.contains("token_refused"),
            "{kept}"
        );
        [
            ("output or log", format!("{}{logs}", self.printed)),
            ("the audit trail", kept),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_neither_logged_nor_audited() {
    let mut scene = Scene::new().await;
    scene.run("migrate run", "");
    scene.run("users create ada --password-stdin", RIGHT);
    let server = scene.place.serve(&format!(
        "--log trace --log-format json --metrics-bind main --issuer {ISSUER} --audit-refreshes true"
    ));
    scene.url.clone_from(&server.url);
    scene.keep_keys();
    scene.send_requests().await;
    let (status, printed) = server.stop("TERM");
    assert!(status.success());
    scene.printed.push_str(&printed.join("\n"));
    for (place, text) in scene.collected_output().await {
        for (name, secret) in &scene.secrets {
            if let Some(found) = text.find(secret.as_str()) {
                let line = text[..found].rfind('\n').map_or(0, |end| end + 1);
                panic!("{name} is in {place}: {:.600}", &text[line..]);
            }
        }
    }
}
