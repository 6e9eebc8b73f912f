//! `latchkey serve`.

use std::{fs, future::pending, io, net::SocketAddr, process::ExitCode, sync::Arc};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{Failure, output};
use crate::{
    app::{App, FirstUser},
    config::Config,
    ports::Clock,
};

pub(super) async fn run(config: &Config, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    // Signals are caught from here on, so that one during the start is not lost.
    let uncaught = |error| Failure::Failed(format!("signals cannot be caught: {error}"));
    let mut signals = StopSignals::catch().map_err(uncaught)?;
    let app = tokio::select! {
        app = App::build(config, clock) => app?,
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let failed = |error: io::Error| Failure::Failed(format!("the server stopped: {error}"));
    let address = app.address().map_err(failed)?;
    announce(address, app.first_user(), config);
    tracing::info!(%address, embedded = app.is_embedded(), "started");
    let (stop, stopped) = oneshot::channel();
    let (hurry, hurried) = oneshot::channel();
    let server = app.run(asked(stopped), asked(hurried));
    tokio::pin!(server);
    let delay = humantime::format_duration(config.http.shutdown_delay);
    for (ask, event) in [(stop, "stopping"), (hurry, "stopping without further delay")] {
        tokio::select! {
            served = &mut server => {
                served.map_err(failed)?;
                tracing::info!("stopped");
                return Ok(ExitCode::SUCCESS);
            }
            signal = signals.next() => {
                tracing::info!(signal, %delay, "{event}");
                let _ = ask.send(());
            }
        }
    }
    server.await.map_err(failed)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Prints the address, and the first user where one was made: for people, or as events where the log is JSON.
fn announce(address: SocketAddr, user: Option<&FirstUser>, config: &Config) {
    if output::is_json() {
        let user = user.map(|user| (user.username, user.password.clone()));
        return output::patiently(move || {
            output::event_line(json!({ "message": "listening", "url": format!("http://{address}") }));
            if let Some((username, password)) = user {
                let password = password.expose_secret();
                output::event_line(json!({
                    "message": "first user created: the password is shown this once",
                    "username": username,
                    "password": password,
                }));
            }
        });
    }
    let mut text = format!("Latchkey listens on http://{address}");
    if let Some(user) = user {
        text.push('\n');
        text.push_str(&welcome(address, user, config));
    }
    output::patiently(move || output::lines(&text));
}

/// Waits for the message. A sender that is dropped has asked for nothing.
async fn asked(message: oneshot::Receiver<()>) {
    if message.await.is_err() {
        pending::<()>().await;
    }
}

/// The signals that stop the server: Ctrl-C, what service managers send, and the end of the terminal.
struct StopSignals {
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn catch() -> io::Result<Self> {
        // `nohup` has SIGHUP ignored, and catching it would undo that.
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { hangup, interrupt, terminate })
    }

    /// Returns the name of the next one.
    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = hangup => "SIGHUP",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Returns true if SIGHUP was ignored at the start. Where the system does not tell, it was not.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// What a newcomer needs: who they are, three requests to try, and where to go from here. Told once.
fn welcome(address: SocketAddr, user: &FirstUser, config: &Config) -> String {
    let (name, password) = (user.username, user.password.expose_secret());
    let json = "-H 'Content-Type: application/json'";
    let keep = r#"ACCESS=$(echo "$PAIR" | sed -n 's/.*"access":"\([^"]*\)".*/\1/p'); REFRESH=$(echo "$PAIR" | sed -n 's/.*"refresh":"\([^"]*\)".*/\1/p')"#;
    format!(
        "
This is the first start, so there is one user now. The password is shown this once:

    username: {name}
    password: {password}

Try it. Obtain a token pair, and keep it in two variables:

    PAIR=$(curl -s http://{address}/api/token/ {json} -d '{{\"username\":\"{name}\",\"password\":\"{password}\"}}'); echo \"$PAIR\"
    {keep}

Verify the access token:

    curl -iw '\\n' http://{address}/api/token/verify/ {json} -d \"{{\\\"token\\\":\\\"$ACCESS\\\"}}\"

Refresh, and keep the new pair: a refresh token is good for one exchange.

    PAIR=$(curl -is http://{address}/api/token/refresh/ {json} -d \"{{\\\"refresh\\\":\\\"$REFRESH\\\"}}\"); echo \"$PAIR\"
    {keep}

This is the embedded mode: one process, its database in {data}, its keys in {keys}, no Redis.
To move on, set DATABASE_URL=postgres://… and REDIS_URL=redis://… and start again; `latchkey serve --help` lists all settings.
",
        data = config.database.data_dir.display(),
        keys = config.keys.keys_dir.display(),
    )
}
