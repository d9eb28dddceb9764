//! A connection as a handler of the first level sees it.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::config::Policy;
use super::link::{Beginning, Link};
use super::local::{Local, Share};
use super::peer::Peer;
use super::stream::Stream;
use super::table::{Phase, Table};
use crate::close::CloseReason;
use crate::event::{PeerAddr, Subscriber};

/// One accepted stream, from accept to close: bytes in and bytes out, through [`AsyncRead`] and
/// [`AsyncWrite`].
///
/// It never leaves the thread it lives on. While a read waits the connection counts as idle, and while a
/// write waits, as sending: the time limits of the server hold. When the handler is done with it, landline
/// ends the stream properly: our side first, then what the peer still sends is read away for a moment, so
/// that the last bytes are not lost to a reset.
pub struct Connection {
    link: Rc<Link>,
}

impl Connection {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        Self { link }
    }

    /// A connection over any stream, without a server: with the default limits on sizes and none on time. For
    /// tests, see also [`testing`](crate::testing).
    ///
    /// # Errors
    /// When there is no memory for its slot.
    pub fn from_io(stream: impl AsyncRead + AsyncWrite + 'static) -> io::Result<Self> {
        let local = Self::alone(Arc::new(()))?;
        Self::over(&local, Policy::default(), stream)
    }

    /// A thread's share for a single connection that no server accepted.
    pub(crate) fn alone(events: Arc<dyn Subscriber>) -> io::Result<Rc<Local>> {
        Ok(Local::new(0, Share::new(1, Table::new(1)?, events)))
    }

    /// The one connection of [`alone`](Self::alone).
    pub(crate) fn over(
        local: &Rc<Local>,
        policy: Policy,
        stream: impl AsyncRead + AsyncWrite + 'static,
    ) -> io::Result<Self> {
        let admitted = local.table.admit(1).ok_or(io::ErrorKind::ResourceBusy)?;
        let seat = admitted.seat(0, PeerAddr::Unnamed.into(), local.entry());
        local.look_after(&policy);
        let (stream, policy) = (Stream::other(stream), Arc::new(policy));
        let beginning =
            Beginning { stream, seat, via: None, address: None, policy, server: None, guest: None };
        Ok(Self { link: Link::new(Rc::clone(local), beginning) })
    }

    pub(crate) fn into_link(self) -> Rc<Link> {
        self.link
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.link.peer
    }

    /// The address that the peer called.
    ///
    /// # Errors
    /// What the operating system says; `Unsupported` over something that is no network socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.link.local_addr()
    }

    /// Completes when the server drains or the connection has reached `max_connection_age`: finish what was
    /// begun, then return. Whoever has not returned by the deadline is cut. Cancel-safe, and independent of
    /// the connection's lifetime.
    pub fn draining(&self) -> WaitForDrain {
        WaitForDrain(Box::pin(self.link.ending().clone().cancelled_owned()))
    }
}

/// What [`Connection::draining`] returns.
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitForDrain(Pin<Box<WaitForCancellationFutureOwned>>);

impl Future for WaitForDrain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = self.link.poll_receive(cx, buf);
        // A write that waits has the tighter limit.
        if !self.link.write_waits() {
            self.link.enter(if outcome.is_pending() { Phase::Idle } else { Phase::Answering });
        }
        match outcome {
            Poll::Ready(Ok(0)) if buf.remaining() > 0 && self.link.is_torn() => {
                let cause = "the client ended without saying so in TLS: something may be missing";
                self.link.settle_with(CloseReason::MessageTruncated, cause.to_owned());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, cause)))
            }
            outcome => outcome.map_ok(|_| ()),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.link.poll_write(cx, bytes);
        if outcome.is_ready() {
            self.link.enter(Phase::Answering);
        }
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.link.poll_write_vectored(cx, slices);
        if outcome.is_ready() {
            self.link.enter(Phase::Answering);
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_shutdown(cx)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.peer())
    }
}

impl fmt::Debug for WaitForDrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitForDrain")
    }
}
