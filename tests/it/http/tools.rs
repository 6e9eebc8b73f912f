//! Helpers: token endpoints, expected bodies and database access.

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
    sql_types::Text,
};
use latchkey::config::Config;
use latchkey_domain::password::Password;
use latchkey_service::users::Registration;
pub use latchkey_testkit::VERIFY_BLACKLISTED;
use secrecy::ExposeSecret as _;

use latchkey_testkit::{Backend, TestApp, new_username, servers, username};

/// Token endpoints with their fields.
pub const ENDPOINTS: [(&str, &[&str]); 4] = [
    ("/api/token/", &["username", "password"]),
    ("/api/token/refresh/", &["refresh"]),
    ("/api/token/verify/", &["token"]),
    ("/api/token/blacklist/", &["refresh"]),
];

pub const BAD_CREDENTIALS: &str =
    r#"{"detail":"No active account found with the given credentials"}"#;
pub const NO_ACCOUNT: &str = r#"{"detail":"No active account found for the given token."}"#;

/// Returns a JSON object in which each field has this value.
pub fn all(fields: &[&str], value: &str) -> String {
    let members: Vec<String> = fields
        .iter()
        .map(|name| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Returns the body of a 400 with this message for each field.
pub fn all_wrong(fields: &[&str], text: &str) -> String {
    all(fields, &format!("[\"{text}\"]"))
}

/// Returns the body of a refused token.
pub fn refused(detail: &str) -> String {
    format!(r#"{{"detail":"{detail}","code":"token_not_valid"}}"#)
}

/// Returns the body of a token that a protected view refuses.
pub fn refused_here(message: &str) -> String {
    format!(
        r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{message}"}}]}}"#
    )
}

/// Creates a user with this password.
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

/// Deactivates a user as the operator's command does.
pub async fn deactivate(app: &TestApp, name: &str) {
    app.accounts()
        .await
        .set_active(&username(name), false)
        .await
        .unwrap();
}

/// Executes a statement in the database, without the server.
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

/// Returns the text in the column `found` of the only row.
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
