//! The actix server over a socket that is already bound.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web::Data};
use prometheus_client::registry::Registry;

use super::{middleware, routes, state::State};

/// Longer than the idle time of the usual proxies, so that it is they who close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server that runs when it is awaited and stops by its handle; it does not listen to signals.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve(listener: TcpListener, state: State) -> io::Result<Server> {
    let registry = Data::from(Arc::clone(&state.registry));
    let limits = state.settings.clone();
    let server = HttpServer::new(move || {
        let state = state.own();
        let settings = state.settings.clone();
        let app = App::new().app_data(Data::new(state)).app_data(registry.clone()).wrap(from_fn(middleware::around));
        app.configure(|config| routes::configure(config, &settings))
    })
    .workers(limits.workers)
    .max_connections(limits.max_connections)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(limits.header_timeout)
    .shutdown_timeout(limits.shutdown_timeout.as_secs())
    .tcp_nodelay(true)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// A server of `/metrics` alone, on an address of its own: what it says is not for everybody.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve_metrics(listener: TcpListener, registry: Arc<Registry>) -> io::Result<Server> {
    let registry = Data::from(registry);
    let app = move || {
        App::new().app_data(registry.clone()).wrap(from_fn(middleware::around)).configure(routes::configure_metrics)
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}
