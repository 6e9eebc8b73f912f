//! `latchkey serve`.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, output};
use crate::{
    app::{App, FirstUser},
    config::Config,
    ports::Clock,
};

pub(super) async fn run(config: &Config, clock: Arc<dyn Clock>) -> Result<ExitCode, Failure> {
    // Signals are caught from here on, so that one during the start is not lost.
    let stop = stop_signal().map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))?;
    tokio::pin!(stop);
    let app = tokio::select! {
        app = App::build(config, clock) => app?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let failed = |error: io::Error| Failure::Failed(format!("the server stopped: {error}"));
    let address = app.address().map_err(failed)?;
    let mut text = format!("Latchkey listens on http://{address}");
    if let Some(user) = app.first_user() {
        text.push('\n');
        text.push_str(&welcome(address, user, config));
    }
    output::patiently(move || output::lines(&text));
    tracing::info!(%address, embedded = app.is_embedded(), "started");
    let (asked, ask) = tokio::sync::oneshot::channel::<()>();
    let server = app.run(async move {
        let _ = ask.await;
    });
    tokio::pin!(server);
    tokio::select! {
        served = &mut server => served.map_err(failed)?,
        () = &mut stop => {
            tracing::info!("stopping: requests that began are answered");
            let _ = asked.send(());
            server.await.map_err(failed)?;
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, or what service managers send.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
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
