//! Refuses to send the password in clear text to another machine over an unencrypted or unverified
//! connection.
//!
//! The driver would send it, and has no setting like libpq's `require_auth`. But it passes its
//! socket to a TLS connector before it sends anything. This connector negotiates TLS according to
//! `sslmode`. Without TLS, it reads the server's messages until the client is authenticated.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::{
    Config, Socket,
    config::{Host, SslMode, SslNegotiation},
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect_error::ConnectError;

/// `SSLRequest` of the protocol: length and code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type Failure = Box<dyn Error + Send + Sync>;

/// Error for a server that requests the password in clear text.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server requests the password in clear text, and the connection is not encrypted and verified"
)]
pub(super) struct ClearText;

/// Connector for servers on other machines. Uses TLS if the server offers it and `sslmode` allows
/// it.
#[derive(Clone)]
pub(super) struct Guard(Option<MakeRustlsConnect>, Watch);

impl Guard {
    /// Configures the driver to pass its socket before it sends anything. `verifies` is true if
    /// `tls` accepts only the intended server, which may receive the password in clear text.
    pub(super) fn new(
        tls: Option<MakeRustlsConnect>,
        verifies: bool,
        config: &mut Config,
    ) -> Result<Self, ConnectError> {
        if config
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Unix(_)))
        {
            let reason = "the URL names a socket and another machine: name one of them, or set sslmode=verify-full";
            return Err(ConnectError::Refused(reason.to_owned()));
        }
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        Ok(Self(
            tls,
            Watch {
                done: verifies,
                ..Watch::default()
            },
        ))
    }
}

impl MakeTlsConnect<Socket> for Guard {
    type Stream = GuardedStream;
    type TlsConnect = GuardConnect;
    type Error = Failure;

    fn make_tls_connect(&mut self, domain: &str) -> Result<GuardConnect, Failure> {
        let make = |connector: &mut MakeRustlsConnect| {
            MakeTlsConnect::<Socket>::make_tls_connect(connector, domain)
        };
        Ok(GuardConnect(
            self.0.as_mut().map(make).transpose()?,
            self.1.clone(),
        ))
    }
}

/// Pending connection.
pub(super) struct GuardConnect(Option<Rustls>, Watch);

impl TlsConnect<Socket> for GuardConnect {
    type Stream = GuardedStream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<GuardedStream, Failure>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            if let Some(tls) = self.0 {
                socket.write_all(&SSL_REQUEST).await?;
                if socket.read_u8().await? == b'S' {
                    return Ok(GuardedStream::Encrypted(
                        Box::new(tls.connect(socket).await?),
                        self.1,
                    ));
                }
            }
            Ok(GuardedStream::Plain(socket, Watch::default()))
        })
    }
}

/// Connection whose first messages are inspected.
pub(super) enum GuardedStream {
    Encrypted(Box<RustlsStream>, Watch),
    Plain(Socket, Watch),
}

/// Parser of the server's messages up to `AuthenticationOk`, in pieces of any size.
#[derive(Clone, Default)]
pub(super) struct Watch {
    /// Kind, length and, in an authentication message, the requested method.
    head: Vec<u8>,
    skip: u32,
    done: bool,
}

impl Watch {
    fn inspect(&mut self, bytes: &[u8]) -> Result<(), ClearText> {
        for byte in bytes {
            if self.done {
                break;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.head.push(*byte);
            match self.head.as_slice() {
                [b'R', _, _, _, _, 0, 0, 0, 3] => return Err(ClearText),
                [b'R', _, _, _, _, 0, 0, 0, 0] => self.done = true,
                [b'R', a, b, c, d, _, _, _, _] => self.skip_rest([*a, *b, *c, *d], 8),
                [kind, a, b, c, d] if *kind != b'R' => self.skip_rest([*a, *b, *c, *d], 4),
                _ => {}
            }
        }
        Ok(())
    }

    /// Skips the rest of a message. The length includes itself.
    fn skip_rest(&mut self, length: [u8; 4], seen: u32) {
        self.skip = u32::from_be_bytes(length).saturating_sub(seen);
        self.head.clear();
    }
}

impl TlsStream for GuardedStream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Encrypted(stream, _) => stream.channel_binding(),
            Self::Plain(..) => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let watch = match self.get_mut() {
            Self::Encrypted(stream, watch) => {
                ready!(Pin::new(stream).poll_read(cx, buffer))?;
                watch
            }
            Self::Plain(socket, watch) => {
                ready!(Pin::new(socket).poll_read(cx, buffer))?;
                watch
            }
        };
        let seen = watch.inspect(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(
            seen.map_err(|refusal| io::Error::new(io::ErrorKind::PermissionDenied, refusal)),
        )
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Encrypted(stream, _) => Pin::new(stream).poll_write(cx, bytes),
            Self::Plain(socket, _) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Encrypted(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Plain(socket, _) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Encrypted(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Plain(socket, _) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &[u8] = b"N\0\0\0\x0cR\0\0\0\x08\0\0\0";
    const CLEAR: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";

    #[test]
    fn clear_text_request_in_pieces_is_detected() {
        for before in [&b""[..], NOTICE, SASL] {
            let all = [before, CLEAR].concat();
            for size in 1..=all.len() {
                let mut watch = Watch::default();
                let seen = all.chunks(size).try_for_each(|piece| watch.inspect(piece));
                assert!(seen.is_err(), "{before:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn requests_after_authentication_are_ignored() {
        for size in 1..9 {
            let mut watch = Watch::default();
            let all = [NOTICE, SASL, OK, CLEAR].concat();
            all.chunks(size)
                .try_for_each(|piece| watch.inspect(piece))
                .unwrap();
        }
    }
}
