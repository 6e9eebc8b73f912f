//! The actix server over a socket that is already bound.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, body::MessageBody};
use actix_server::Server;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::{
    App, HttpServer,
    dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web::Data,
};
use prometheus_client::registry::Registry;
use tokio::time::sleep;

use super::{
    connection::{Bounded, Observed},
    middleware, router,
    state::{HttpSettings, State},
};

/// Longer than the idle time of the usual proxies, so that it is they who close.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The time that a client has to close its side after the server.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after the beginning of a stop in which an idle connection still takes a request. A proxy may send one at the
/// moment of the stop, and must not repeat a POST whose connection was closed without a response.
const IDLE_LINGER: Duration = Duration::from_millis(750);

/// Maximum number of connections to the address of the metrics alone.
pub const METRICS_CONNECTIONS: usize = 32;

/// The extra connections of a worker while evicted ones are still being closed.
pub const OVERLAP: usize = 16;

/// A server that runs when it is awaited and stops by its handle; it does not listen to signals.
///
/// Assembles the parts of [`HttpServer`], so that every connection passes `Bounded` first. A client that closes its
/// half of a connection counts as disconnected, as for most servers, and its request is dropped.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve(listener: TcpListener, state: State) -> io::Result<Server> {
    let connections = Arc::clone(&state.connections);
    let HttpSettings {
        workers,
        shutdown_timeout,
        header_timeout,
        ..
    } = state.settings;
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections.status().limit / workers.max(1) + OVERLAP)
        .shutdown_timeout(shutdown_timeout.as_secs())
        .disable_signals();
    let draining = builder.graceful_shutdown_signal();
    let registry = Data::from(Arc::clone(&state.registry));
    Ok(builder
        .listen("latchkey", listener, move || {
            let draining = draining.clone();
            let http = HttpService::<Observed, _, _>::build()
                .graceful_shutdown_signal(move || {
                    let draining = draining.clone();
                    async move {
                        draining.notified().await;
                        sleep(IDLE_LINGER).await;
                    }
                })
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(header_timeout)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .h1_allow_half_closed(false)
                .on_connect_ext(|io: &Observed, data| {
                    data.insert(Arc::clone(io.connection()));
                })
                .h1(map_config(
                    app(&state, &registry)
                        .into_factory()
                        .map_err(|error: actix_web::Error| error.error_response()),
                    |()| AppConfig::default(),
                ));
            Bounded::new(http, Arc::clone(&connections))
        })?
        .run())
}

/// The application of one thread.
fn app(
    state: &State,
    registry: &Data<Registry>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    let state = state.for_worker();
    let settings = state.settings.clone();
    let app = App::new()
        .app_data(Data::new(state))
        .app_data(registry.clone())
        .wrap(from_fn(middleware::around));
    app.configure(|config| router::configure(config, &settings))
}

/// A server of `/metrics` alone, on an address of its own: what it says is not for everybody.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve_metrics(listener: TcpListener, registry: Arc<Registry>) -> io::Result<Server> {
    let registry = Data::from(registry);
    let app = move || {
        App::new()
            .app_data(registry.clone())
            .wrap(from_fn(middleware::around))
            .configure(router::configure_metrics)
    };
    Ok(HttpServer::new(app)
        .workers(1)
        .max_connections(METRICS_CONNECTIONS)
        .disable_signals()
        .listen(listener)?
        .run())
}
