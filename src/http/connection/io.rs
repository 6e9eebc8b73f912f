//! A socket that reports its progress, and that takes no more from a client than the server works on. It also hides from
//! the web server what it cannot do (offers of another protocol), and completes what it writes itself (refusals).

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

/// Bytes at the beginning of a request that are taken at once. Most requests are shorter.
const PIECE: usize = 2 * 1024;
/// Requests that a client may send ahead. The web server parses all that it has been given, at some 6 KiB each.
const PIPELINED: usize = 16;
const HEAD_END: &[u8] = b"\r\n\r\n";
/// The time that a refused client may still send. A socket that is closed before all was read discards its response.
const REFUSED_LINGER: Duration = Duration::from_secs(1);

/// Passes reads and writes on to a socket, and notes their progress at the [`Connection`].
///
/// While a handler works, or a response waits for the client, nothing is read that is not a body: a client cannot fill
/// memory with requests that it sends ahead. Only the end of the connection is noticed. A request that may cost much
/// and whose client has closed its half already is not passed on.
pub(in crate::http) struct Observed {
    inner: TcpStream,
    connection: Arc<Connection>,
    /// Bytes that were read and not passed on yet: requests beyond those that may be sent ahead.
    kept: Vec<u8>,
    /// Bytes that were passed on since the last request began.
    passed: usize,
    /// What was passed on holds a request, which is parsed before more is read.
    pause: bool,
    offers: UpgradeOffers,
    refusal: Refusal,
}

/// The state of a response that the web server writes itself. It is the last one of the connection.
enum Refusal {
    None,
    /// The rest of what is sent instead.
    Sending(Vec<u8>),
    /// The client may still send until then.
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
    pub(in crate::http) const fn connection(&self) -> &Arc<Connection> {
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

    /// Sends the replacement of a refusal, and reads until the client has stopped sending. The web server drops the socket
    /// once the refusal counts as written.
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
                    let mut rest = [MaybeUninit::uninit(); PIECE];
                    let mut rest = ReadBuf::uninit(&mut rest);
                    let is_over = linger.as_mut().poll(cx).is_ready();
                    let is_closed = !is_over
                        && (ready!(Pin::new(&mut self.inner).poll_read(cx, &mut rest)).is_err()
                            || rest.filled().is_empty());
                    if is_over || is_closed {
                        self.refusal = Refusal::Sent;
                    }
                }
            }
        }
    }

    /// Waits for the end of the connection, or until there is a reason to read again.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.wake_when_free(cx.waker());
        if !self.kept.is_empty() {
            return Poll::Pending;
        }
        let mut byte = [MaybeUninit::uninit()];
        match ready!(self.inner.poll_peek(cx, &mut ReadBuf::uninit(&mut byte)))? {
            // The end: the reader sees that nothing was read.
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Reads what was kept, else from the socket.
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
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        let mut piece = piece.take(buffer.remaining());
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    /// Returns `true` if the client has closed its half of the connection, as far as the last event says. No system
    /// call is made.
    fn client_has_closed(&self) -> bool {
        self.inner
            .ready(Interest::READABLE)
            .now_or_never()
            .is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed))
    }

    /// Keeps what follows the last request that may be sent ahead.
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
            .nth(PIPELINED - 2)
            .map_or(piece.len(), |(start, _)| start + HEAD_END.len());
        if end < piece.len() {
            let mut rest = piece.get(end..).unwrap_or_default().to_vec();
            rest.append(&mut self.kept);
            self.kept = rest;
            buffer.set_filled(before + end);
        }
    }
}

/// Returns `true` for the beginning of a GET or HEAD request. Clients that close their half before they read, as some
/// health checks do, get a response to these.
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
            // The reader sees the end of the connection, and not the request.
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

    /// The web server flushes when all that it had to write has been written.
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

    /// Returns the bytes of one read, after a client sent `request` and closed its half.
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
    async fn a_post_of_a_client_that_has_closed_is_not_passed_on() {
        let request = "POST /api/token/refresh/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(passed_on(request).await, "");
    }

    #[tokio::test]
    async fn a_get_of_a_client_that_closes_its_half_before_it_reads_is_passed_on() {
        let request = "GET /health/live HTTP/1.0\r\n\r\n";
        assert_eq!(passed_on(request).await, request);
    }
}
