//! Lines that `latchkey serve` prints after the start.

use std::net::SocketAddr;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    app::{FirstPassword, FirstUser},
    cli::output,
    config::Config,
};

/// Prints the address, and the first user if one was created. The format is text for people, or
/// events if the log is JSON.
pub(super) fn print(address: SocketAddr, user: Option<&FirstUser>, config: &Config) {
    if output::is_json() {
        let events = events(address, user);
        return output::with_retries(move || events.into_iter().for_each(output::event_line));
    }
    let mut text = format!("Latchkey listens on http://{address}");
    if let Some(user) = user {
        text.push('\n');
        text.push_str(&welcome(address, user, config));
    }
    output::with_retries(move || output::lines(&text));
}

/// Returns the same information as events.
fn events(address: SocketAddr, user: Option<&FirstUser>) -> Vec<Value> {
    let mut events = vec![json!({ "message": "listening", "url": format!("http://{address}") })];
    if let Some(FirstUser { username, password }) = user {
        events.push(match password {
            FirstPassword::Shown(password) => {
                let message = "first user created: the password is shown only now";
                json!({ "message": message, "username": username, "password": password.expose_secret() })
            }
            FirstPassword::Written(file) => {
                let message = "first user created: the password is in the file";
                json!({ "message": message, "username": username, "file": file.display().to_string() })
            }
        });
    }
    events
}

/// Returns the text for a new operator: the first user, three requests to try, and the next steps.
/// It holds the password only if it is for a terminal.
fn welcome(address: SocketAddr, user: &FirstUser, config: &Config) -> String {
    let name = user.username;
    let (notice, shown, given) = match &user.password {
        FirstPassword::Shown(password) => {
            let password = password.expose_secret();
            (
                "The password is shown only now:",
                format!("password: {password}"),
                password.to_owned(),
            )
        }
        FirstPassword::Written(path) => {
            let path = path.display().to_string();
            let quoted = path.replace('\'', r"'\''");
            (
                "The password is in a file:",
                format!("password in: {path}"),
                format!("$(cat '{quoted}')"),
            )
        }
    };
    let json = "-H 'Content-Type: application/json'";
    let keep = r#"ACCESS=$(echo "$PAIR" | sed -n 's/.*"access":"\([^"]*\)".*/\1/p'); REFRESH=$(echo "$PAIR" | sed -n 's/.*"refresh":"\([^"]*\)".*/\1/p')"#;
    format!(
        "
The first start created a user. {notice}

    username: {name}
    {shown}

Obtain a token pair, and keep it in two variables:

    PAIR=$(curl -s http://{address}/api/token/ {json} -d \"{{\\\"username\\\":\\\"{name}\\\",\\\"password\\\":\\\"{given}\\\"}}\"); echo \"$PAIR\"
    {keep}

Verify the access token:

    curl -iw '\\n' http://{address}/api/token/verify/ {json} -d \"{{\\\"token\\\":\\\"$ACCESS\\\"}}\"

Refresh, and keep the new pair. A refresh token is valid for one exchange.

    PAIR=$(curl -is http://{address}/api/token/refresh/ {json} -d \"{{\\\"refresh\\\":\\\"$REFRESH\\\"}}\"); echo \"$PAIR\"
    {keep}

This is the embedded mode: one process, with its database in {data} and its keys in {keys}, without Redis.
To use Postgres and Redis, set DATABASE_URL=postgres://… and REDIS_URL=redis://…, and start again. `latchkey serve --help` lists all settings.
",
        data = config.database.data_dir.display(),
        keys = config.keys.keys_dir.display(),
    )
}
