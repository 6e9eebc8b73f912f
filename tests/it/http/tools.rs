//! What several of these files need: the four token endpoints, and a look into the database.

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
    sql_types::Text,
};
use latchkey::{config::Config, domain::password::Password, service::user_admin::Registration};
use secrecy::ExposeSecret as _;

use crate::support::{Backend, TestApp, new_username, servers, username};

/// The token endpoints with their fields.
pub const ENDPOINTS: [(&str, &[&str]); 4] = [
    ("/api/token/", &["username", "password"]),
    ("/api/token/refresh/", &["refresh"]),
    ("/api/token/verify/", &["token"]),
    ("/api/token/blacklist/", &["refresh"]),
];

pub const BAD_CREDENTIALS: &str =
    r#"{"detail":"No active account found with the given credentials"}"#;
pub const NO_ACCOUNT: &str = r#"{"detail":"No active account found for the given token."}"#;
pub const VERIFY_BLACKLISTED: &str = r#"{"non_field_errors":["Token is blacklisted"]}"#;

/// A JSON object in which each of the fields has this value.
pub fn all(fields: &[&str], value: &str) -> String {
    let members: Vec<String> = fields
        .iter()
        .map(|name| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// The body of a 400 in which each of the fields is wrong in this way.
pub fn all_wrong(fields: &[&str], text: &str) -> String {
    all(fields, &format!("[\"{text}\"]"))
}

/// The body of a token's refusal.
pub fn refused(detail: &str) -> String {
    format!(r#"{{"detail":"{detail}","code":"token_not_valid"}}"#)
}

/// The body of a token's refusal on a protected view.
pub fn refused_here(message: &str) -> String {
    format!(
        r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{message}"}}]}}"#
    )
}

/// Makes a user with this password.
pub async fn user_with_password(app: &TestApp, name: &str, password: &str) {
    let password = Password::parse_new(password.to_owned()).unwrap();
    let registration = Registration {
        username: new_username(name),
        password,
        email: None,
        is_staff: false,
    };
    app.accounts().await.create(registration).await.unwrap();
}

/// What an operator's `deactivate` does.
pub async fn deactivate(app: &TestApp, name: &str) {
    app.accounts()
        .await
        .set_active(&username(name), false)
        .await
        .unwrap();
}

/// Changes the database behind the server's back.
pub async fn execute(app: &TestApp, statement: &str) {
    match app.backend {
        Backend::Embedded => {
            sql_query(statement)
                .execute(&mut sqlite(&app.config))
                .unwrap();
        }
        Backend::PostgresAndRedis => servers::execute(&database(&app.config), statement).await,
    }
}

/// The one text that a query finds, as `found`.
pub async fn select(app: &TestApp, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        found: String,
    }
    match app.backend {
        Backend::Embedded => {
            sql_query(query)
                .get_result::<Row>(&mut sqlite(&app.config))
                .unwrap()
                .found
        }
        Backend::PostgresAndRedis => {
            let url = format!("{}/{}", servers::postgres_url(), database(&app.config));
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.query_one(query, &[]).await.unwrap().get("found")
        }
    }
}

fn sqlite(config: &Config) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(
        config
            .database
            .data_dir
            .join("latchkey.db")
            .to_str()
            .unwrap(),
    )
    .unwrap();
    sql_query("PRAGMA busy_timeout = 5000")
        .execute(&mut connection)
        .unwrap();
    connection
}

fn database(config: &Config) -> String {
    let url = config
        .database
        .database_url
        .as_ref()
        .unwrap()
        .expose_secret();
    url.rsplit('/').next().unwrap().to_owned()
}
