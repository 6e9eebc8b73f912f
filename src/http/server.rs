//! The actix server over a socket that is already bound.

use std::{io, net::TcpListener, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web::Data};

use super::{middleware, routes, state::State};

/// Longer than the idle time of the usual proxies, so that it is they who close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server that runs when it is awaited and stops by its handle; it does not listen to signals.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve(listener: TcpListener, state: State) -> io::Result<Server> {
    let state = Data::new(state);
    let settings = state.settings.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).wrap(from_fn(middleware::around)).configure(routes::configure)
    })
    .workers(settings.workers)
    .max_connections(settings.max_connections)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(settings.header_timeout)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .tcp_nodelay(true)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}
