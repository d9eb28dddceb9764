//! What a connection's bytes go through: a socket, or any stream.
//!
//! Sockets are read and written here rather than through the runtime's own types, which cost more for each
//! message: a buffer is taken only once there is something to read, and a send asks for no readiness before
//! it is needed.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission::Handshake;
use crate::buffer::Pool;
use crate::sys::socket;
use crate::tls::{Secured, Terms};

/// Any stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}

/// What a connection's bytes go through.
pub(crate) enum Stream {
    Socket(AsyncFd<OwnedFd>),
    Other(Box<RefCell<dyn Duplex + Unpin>>),
    /// A socket on which TLS is spoken.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without TLS there is none"))]
    Tls(Box<Secured>),
}

/// There may be something to read.
pub(crate) enum Readable<'a> {
    Socket(AsyncFdReadyGuard<'a, OwnedFd>),
    Other,
}

impl Stream {
    /// Registers a socket with this thread's runtime.
    pub(crate) fn socket(socket: OwnedFd) -> io::Result<Self> {
        socket::register_connection(socket).map(Self::Socket)
    }

    /// Registers a socket on which TLS is spoken, on these terms.
    pub(crate) fn tls(
        socket: OwnedFd,
        terms: &Terms,
        pool: &Rc<Pool>,
        handshake: Option<Handshake>,
    ) -> io::Result<Self> {
        let socket = socket::register_connection(socket)?;
        Ok(terms.secure(socket, pool, handshake))
    }

    /// TLS, if it is spoken.
    pub(crate) fn as_tls(&self) -> Option<&Secured> {
        match self {
            Self::Tls(secured) => Some(secured),
            _ => None,
        }
    }

    pub(crate) fn other(stream: impl Duplex + 'static) -> Self {
        Self::Other(Box::new(RefCell::new(Box::pin(stream))))
    }

    /// The socket, if it is one.
    pub(crate) fn as_socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.get_ref().as_fd()),
            Self::Other(_) => None,
            Self::Tls(secured) => Some(secured.socket().get_ref().as_fd()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let socket = self.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        socket::local_addr(&socket)
    }

    /// Waits until there may be something to read.
    #[inline]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        match self {
            Self::Socket(socket) => socket.poll_read_ready(cx).map_ok(Readable::Socket),
            Self::Other(_) => Poll::Ready(Ok(Readable::Other)),
            Self::Tls(secured) => secured.poll_readable(cx),
        }
    }

    /// Reads once it is [readable](Self::poll_readable), and says how much came; pending if there is nothing
    /// after all.
    #[inline]
    pub(crate) fn poll_read<'a>(
        &'a self,
        cx: &mut Context<'_>,
        mut readable: Readable<'a>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = match (self, readable) {
                (Self::Tls(secured), readable) => return secured.poll_read(cx, readable, buffer),
                (_, Readable::Socket(guard)) => guard,
                (Self::Other(stream), Readable::Other) => return poll_read_other(stream, cx, buffer),
                (Self::Socket(_), Readable::Other) => return Poll::Pending,
            };
            let room = buffer.remaining();
            match socket::receive(guard.get_inner(), buffer) {
                Ok(count) => {
                    // A short read has emptied the socket. The end of the input stays readable.
                    if count > 0 && count < room {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            readable = ready!(self.poll_readable(cx))?;
        }
    }

    /// Writes what the peer takes at once. `waited`: the last write had to wait, so that trying is no use
    /// before the socket says so.
    #[inline]
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        waited: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => {
                let send = |socket: &OwnedFd| socket::send(socket, bytes);
                poll_send(socket, cx, send, bytes.len(), waited)
            }
            Self::Other(stream) => Pin::new(&mut *stream.borrow_mut()).poll_write(cx, bytes),
            Self::Tls(secured) => secured.poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        waited: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => {
                let send = |socket: &OwnedFd| socket::send_vectored(socket, slices);
                poll_send(socket, cx, send, slices.iter().map(|slice| slice.len()).sum(), waited)
            }
            Self::Other(stream) => Pin::new(&mut *stream.borrow_mut()).poll_write_vectored(cx, slices),
            Self::Tls(secured) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                secured.poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => Pin::new(&mut *stream.borrow_mut()).poll_flush(cx),
            Self::Tls(secured) => secured.poll_flush(cx),
        }
    }

    /// How many bytes of its own making wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.as_tls().map_or(0, Secured::unsent)
    }

    /// Whether bytes can be read of which the socket knows nothing any more.
    pub(crate) fn has_plain(&self) -> bool {
        self.as_tls().is_some_and(Secured::has_plain)
    }

    /// Whether a part of something has come whose rest it takes to be read.
    pub(crate) fn is_within_record(&self) -> bool {
        self.as_tls().is_some_and(Secured::is_within_record)
    }

    /// Whether the input has ended without the peer's having said so.
    pub(crate) fn is_torn(&self) -> bool {
        self.as_tls().is_some_and(Secured::is_torn)
    }

    /// Ends our side.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(socket) => Poll::Ready(socket::end(socket.get_ref())),
            Self::Other(stream) => Pin::new(&mut *stream.borrow_mut()).poll_shutdown(cx),
            Self::Tls(secured) => secured.poll_shutdown(cx),
        }
    }
}

fn poll_read_other(
    stream: &RefCell<dyn Duplex + Unpin>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    let before = buffer.filled().len();
    ready!(Pin::new(&mut *stream.borrow_mut()).poll_read(cx, buffer))?;
    Poll::Ready(Ok(buffer.filled().len() - before))
}

/// Sends; asks whether the socket takes something only when it did not, or when the last write already had
/// to wait.
pub(crate) fn poll_send(
    socket: &AsyncFd<OwnedFd>,
    cx: &mut Context<'_>,
    send: impl Fn(&OwnedFd) -> rustix::io::Result<usize>,
    len: usize,
    waited: bool,
) -> Poll<io::Result<usize>> {
    if !waited {
        match send(socket.get_ref()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            outcome => return Poll::Ready(outcome.map_err(io::Error::from)),
        }
    }
    loop {
        let mut guard = ready!(socket.poll_write_ready(cx))?;
        match send(guard.get_inner()) {
            Ok(count) => {
                if count < len {
                    guard.clear_ready();
                }
                return Poll::Ready(Ok(count));
            }
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}
