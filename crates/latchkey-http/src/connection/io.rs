//! Socket that records its progress and limits pipelined requests. It hides offers of another
//! protocol from the web server and replaces the web server's own refusals.

use std::{
    io, mem,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    time::{Sleep, sleep},
};

use super::{progress::Connection, refusal::replacement, upgrade_offers::UpgradeOffers};

/// Maximum size of the first read of a request, in bytes. Most requests are shorter.
const FIRST_READ: usize = 2 * 1024;
/// Maximum number of pipelined requests. The web server parses all bytes that it receives, and each
/// parsed request takes about 6 KiB.
const MAX_PIPELINED: usize = 16;
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Time for which the rest of a refused request is read. A socket that is closed with unread bytes
/// discards its response.
const REFUSED_LINGER: Duration = Duration::from_secs(1);

/// Passes reads and writes on to a socket, and records their progress in the [`Connection`].
///
/// While a handler runs or a response waits for the client, only the body of the current request is
/// read, so a client cannot fill memory with pipelined requests. The end of the connection is still
/// detected. Except for GET and HEAD, a request whose client has already closed its half is not
/// passed on.
pub(crate) struct Observed {
    inner: TcpStream,
    connection: Arc<Connection>,
    /// Bytes that were read but not passed on yet: requests over [`MAX_PIPELINED`].
    kept: Vec<u8>,
    /// Bytes passed on since the last request began.
    passed: usize,
    /// True if the bytes passed on contain a complete head. It is parsed before the next read.
    pause: bool,
    offers: UpgradeOffers,
    refusal: Refusal,
}

/// State of a refusal by the web server itself. It is the last response of the connection.
enum Refusal {
    None,
    /// Unsent bytes of the replacement.
    Sending(Vec<u8>),
    /// The replacement is sent. Incoming bytes are discarded until the timer ends.
    Lingering(Pin<Box<Sleep>>),
    Sent,
}

impl Observed {
    pub(super) fn new(inner: TcpStream, connection: Arc<Connection>) -> Self {
        let (kept, offers) = Default::default();
        Self {
            inner,
            connection,
            kept,
            passed: 0,
            pause: false,
            offers,
            refusal: Refusal::None,
        }
    }

    /// Returns the connection that the socket belongs to.
    pub(crate) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Pending => {
                self.connection.note_blocked();
                Poll::Pending
            }
            Poll::Ready(Ok(written)) => {
                self.connection.note_written(written);
                Poll::Ready(Ok(written))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    /// Sends the replacement of a refusal, then discards incoming bytes until the client closes its
    /// half or [`REFUSED_LINGER`] ends. The web server drops the socket after the result is ready.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.refusal {
                Refusal::None | Refusal::Sent => return Poll::Ready(Ok(())),
                Refusal::Sending(rest) if rest.is_empty() => {
                    ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                    self.refusal = Refusal::Lingering(Box::pin(sleep(REFUSED_LINGER)));
                }
                Refusal::Sending(rest) => {
                    let bytes = mem::take(rest);
                    let sent = self.poll_send(cx, &bytes);
                    let written = if let Poll::Ready(Ok(written)) = sent {
                        written
                    } else {
                        0
                    };
                    self.refusal =
                        Refusal::Sending(bytes.get(written..).unwrap_or_default().to_vec());
                    if ready!(sent)? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                }
                Refusal::Lingering(linger) => {
                    let mut discarded = [MaybeUninit::uninit(); FIRST_READ];
                    let mut discarded = ReadBuf::uninit(&mut discarded);
                    let is_over = linger.as_mut().poll(cx).is_ready();
                    let is_closed = !is_over
                        && (ready!(Pin::new(&mut self.inner).poll_read(cx, &mut discarded))
                            .is_err()
                            || discarded.filled().is_empty());
                    if is_over || is_closed {
                        self.refusal = Refusal::Sent;
                    }
                }
            }
        }
    }

    /// Waits for the end of the connection, or until the connection is no longer busy.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.wake_when_free(cx.waker());
        if !self.kept.is_empty() {
            return Poll::Pending;
        }
        let mut byte = [MaybeUninit::uninit()];
        match ready!(self.inner.poll_peek(cx, &mut ReadBuf::uninit(&mut byte)))? {
            // End of the connection: the web server receives an empty read.
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Reads the kept bytes, or from the socket if there are none.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.kept.is_empty() {
            let rest = self.kept.split_off(self.kept.len().min(buffer.remaining()));
            buffer.put_slice(&mem::replace(&mut self.kept, rest));
            return Poll::Ready(Ok(()));
        }
        if self.passed > 0 {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let mut piece = [MaybeUninit::uninit(); FIRST_READ];
        let mut piece = ReadBuf::uninit(&mut piece);
        let mut piece = piece.take(buffer.remaining());
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    /// Returns true if the client has closed its half of the connection, according to the last
    /// readiness event. Needs no system call.
    fn client_has_closed(&self) -> bool {
        self.inner
            .ready(Interest::READABLE)
            .now_or_never()
            .is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed))
    }

    /// Moves the bytes after the last permitted pipelined request from `buffer` to `kept`.
    fn keep_rest(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let piece = buffer.filled().get(before..).unwrap_or_default();
        let mut ends = piece
            .windows(HEAD_END.len())
            .enumerate()
            .filter(|(_, window)| *window == HEAD_END);
        if ends.next().is_none() {
            return;
        }
        self.pause = true;
        let end = ends
            .nth(MAX_PIPELINED - 2)
            .map_or(piece.len(), |(start, _)| start + HEAD_END.len());
        if end < piece.len() {
            let mut rest = piece.get(end..).unwrap_or_default().to_vec();
            rest.append(&mut self.kept);
            self.kept = rest;
            buffer.set_filled(before + end);
        }
    }
}

/// Returns true for the start of a GET or HEAD request. They are answered even if the client has
/// closed its half before it reads, as some health checks do.
fn is_view(piece: &[u8]) -> bool {
    matches!(piece.first(), Some(b'G' | b'H'))
}

impl AsyncRead for Observed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.is_busy() {
            return this.poll_end(cx);
        }
        if mem::take(&mut this.pause) {
            if !this.kept.is_empty() || this.inner.poll_read_ready(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if this.connection.take_began() {
            this.passed = 0;
        }
        let before = buffer.filled().len();
        let left = this.passed == 0 && this.client_has_closed();
        ready!(this.poll_piece(cx, buffer))?;
        if left && !is_view(buffer.filled().get(before..).unwrap_or_default()) {
            // The web server receives the end of the connection instead of the request.
            buffer.set_filled(before);
            this.kept.clear();
            return Poll::Ready(Ok(()));
        }
        this.keep_rest(buffer, before);
        this.offers
            .remove(buffer.filled_mut().get_mut(before..).unwrap_or_default());
        let read = buffer.filled().len() - before;
        this.passed += read;
        if read > 0 {
            this.connection.note_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.refusal, Refusal::None)
            && let Some((start, replacement)) = replacement(bytes)
        {
            if let Some(before) = bytes.get(..start).filter(|before| !before.is_empty()) {
                return this.poll_send(cx, before);
            }
            this.refusal = Refusal::Sending(replacement);
        }
        match &this.refusal {
            Refusal::Sending(_) | Refusal::Lingering(_) => {
                this.poll_refusal(cx).map_ok(|()| bytes.len())
            }
            Refusal::None | Refusal::Sent => this.poll_send(cx, bytes),
        }
    }

    /// Records the end of a response. The web server flushes after it has written everything.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.connection.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::Shutdown};

    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
        sync::oneshot,
    };

    use super::*;

    /// Returns the bytes of one read after a client sent `request` and closed its half.
    async fn passed_on(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let accepted: TcpStream = listener.accept().await.unwrap().0;
        while !accepted
            .ready(Interest::READABLE)
            .await
            .unwrap()
            .is_read_closed()
        {
            tokio::task::yield_now().await;
        }
        let mut socket = Observed::new(accepted, Arc::new(Connection::new(oneshot::channel().0)));
        let mut buffer = [0; 256];
        let read = socket.read(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..read].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn post_after_half_close_is_not_passed_on() {
        let request = "POST /api/token/refresh/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(passed_on(request).await, "");
    }

    #[tokio::test]
    async fn get_after_half_close_is_passed_on() {
        let request = "GET /health/live HTTP/1.0\r\n\r\n";
        assert_eq!(passed_on(request).await, request);
    }
}
