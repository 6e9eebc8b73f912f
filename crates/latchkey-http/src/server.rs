//! The actix servers, on sockets that are already bound.

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

/// Timeout of idle connections. It is longer than that of common proxies, so that the proxy closes
/// an idle connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Time that a client has to close its half after the server.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after the start of a stop in which idle connections still accept requests. A proxy may send
/// a request at that moment, and must not repeat a POST if the connection is closed without a
/// response.
const IDLE_LINGER: Duration = Duration::from_millis(750);

/// Maximum number of connections of the metrics server.
pub const METRICS_CONNECTIONS: usize = 32;

/// Extra connections of a worker while evicted ones are being closed.
pub const OVERLAP: usize = 16;

/// Returns the main server. It runs while it is awaited, stops by its handle and ignores signals.
///
/// It is assembled from the parts of [`HttpServer`], so that every connection passes `Bounded`
/// first. A client that closes its half of a connection counts as disconnected, as in most servers,
/// and its request is dropped.
///
/// # Errors
/// If the socket cannot be used.
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

/// Returns the application of one worker.
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

/// Returns a server of `/metrics` alone, on a separate address that need not be public.
///
/// # Errors
/// If the socket cannot be used.
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
