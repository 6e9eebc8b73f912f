//! Service that accepts connections. A connection without a place in the register is dropped.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use actix_http::error::DispatchError;
use actix_service::{Service, ServiceFactory};
use actix_web::rt::net::TcpStream;
use futures_util::future::LocalBoxFuture;
use socket2::SockRef;

use super::{io::Observed, register::Connections};

/// Size of the kernel's send buffer of a connection, in bytes. Most responses are smaller.
const SEND_BUFFER: usize = 128 * 1024;

/// Input of the inner service: the socket and the address of its peer.
type Accepted = (Observed, Option<std::net::SocketAddr>);

/// Creates services that pass connections on to `inner`, within the limits of the register.
pub(crate) struct Bounded<F> {
    inner: F,
    register: Arc<Connections>,
}

pub(crate) struct BoundedService<S> {
    inner: Rc<S>,
    register: Arc<Connections>,
}

impl<F> Bounded<F> {
    pub(crate) const fn new(inner: F, register: Arc<Connections>) -> Self {
        Self { inner, register }
    }
}

impl<F> ServiceFactory<TcpStream> for Bounded<F>
where
    F: ServiceFactory<Accepted, Config = (), Response = (), Error = DispatchError, InitError = ()>,
    F::Future: 'static,
    F::Service: 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Config = ();
    type Service = BoundedService<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (inner, register) = (self.inner.new_service(()), Arc::clone(&self.register));
        Box::pin(async move {
            Ok(BoundedService {
                inner: Rc::new(inner.await?),
                register,
            })
        })
    }
}

impl<S> Service<TcpStream> for BoundedService<S>
where
    S: Service<Accepted, Response = (), Error = DispatchError> + 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Future = LocalBoxFuture<'static, Result<(), DispatchError>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let peer = stream.peer_addr().ok();
        let Some((place, order)) = self.register.open(peer) else {
            return Box::pin(async { Ok(()) });
        };
        // Errors are ignored: without these options, responses are slower or need more memory, but
        // are correct.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let inner = Rc::clone(&self.inner);
        Box::pin(async move {
            let served = inner.call((Observed::new(stream, Arc::clone(&place.connection)), peer));
            tokio::select! {
                biased;
                // Drops the inner service, which closes the socket.
                Ok(()) = order => Ok(()),
                served = served => served,
            }
        })
    }
}
