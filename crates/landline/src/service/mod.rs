//! The second level: code that answers one message.

mod batch;
mod builtin;
mod framed;
#[cfg(feature = "takeover")]
mod lasting;
mod reply;

use std::fmt;

use crate::error::Outcome;
use crate::server::Peer;

pub(crate) use batch::Batches;
pub use builtin::{Echo, Upper};
pub use framed::{Framed, framed};
#[cfg(feature = "takeover")]
pub use lasting::lasting_session;
pub use reply::Reply;

/// Code that answers one message. One service serves all connections, on every thread.
///
/// Messages of one connection are answered in order, one at a time; all complete messages of what was read
/// are answered before the replies go out together. A session stays on its thread, so neither it nor the
/// futures need be `Send`.
pub trait Service: Send + Sync + 'static {
    /// What is kept for each connection; `()` when there is nothing.
    type Session: 'static;

    /// A connection begins. It may greet, through `reply`; it may refuse, by an error or by [`Reply::close`].
    ///
    /// # Errors
    /// An error ends the connection with [`HandlerFailed`](crate::CloseReason::HandlerFailed), after what was
    /// put into `reply` is sent.
    fn open(&self, peer: &Peer, reply: &mut Reply) -> Outcome<Self::Session>;

    /// Goes on with a connection that another process began: the session that it has, from what
    /// [`save`](Self::save) put down last. None, unless a service says otherwise, if that can't be known:
    /// then the connection ends. Services without sessions go on, and those of `lasting_session` do. Before
    /// an upgrade it is also asked in the process before, to find out whether another can go on.
    fn resume(&self, peer: &Peer, saved: &[u8]) -> Option<Self::Session> {
        let _ = (peer, saved);
        None
    }

    /// Puts down what another process needs to go on with a session, in at most 64 KiB; nothing, unless a
    /// service says otherwise. It is called when messages were answered, before the replies are sent, and
    /// only where connections can outlive their process.
    fn save(&self, session: &Self::Session, saved: &mut Vec<u8>) {
        let _ = (session, saved);
    }

    /// Answers one message with any number of replies. The message is without its delimiters and is not
    /// changed by anybody.
    ///
    /// # Errors
    /// An error ends the connection as in [`open`](Self::open), after the replies to this and to earlier
    /// messages are sent.
    fn answer(
        &self,
        session: &mut Self::Session,
        message: &[u8],
        reply: &mut Reply,
    ) -> impl Future<Output = Outcome>;
}

/// A service from a closure, without sessions.
///
/// ```
/// use landline::{Reply, service};
///
/// let upper = service(async |message: &[u8], reply: &mut Reply| {
///     reply.send(&message.to_ascii_uppercase());
///     Ok(())
/// });
/// # fn check(_: impl landline::Service) {}
/// # check(upper);
/// ```
pub fn service<F>(answer: F) -> impl Service<Session = ()>
where
    F: AsyncFn(&[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    FromClosure(answer)
}

/// A service from two closures: one that makes the session of a new connection, one that answers a message
/// with it.
///
/// ```
/// use std::io::Write;
/// use landline::{Peer, Reply, session};
///
/// let counter = session(
///     |_: &Peer, _: &mut Reply| Ok(0_u64),
///     async |count: &mut u64, _: &[u8], reply: &mut Reply| {
///         *count += 1;
///         write!(reply, "{count}")?;
///         Ok(())
///     },
/// );
/// # fn check(_: impl landline::Service) {}
/// # check(counter);
/// ```
pub fn session<T, O, F>(open: O, answer: F) -> impl Service<Session = T>
where
    T: 'static,
    O: Fn(&Peer, &mut Reply) -> Outcome<T> + Send + Sync + 'static,
    F: AsyncFn(&mut T, &[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    FromClosures { open, answer, session: std::marker::PhantomData::<fn() -> T> }
}

struct FromClosure<F>(F);

impl<F> Service for FromClosure<F>
where
    F: AsyncFn(&[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    type Session = ();

    fn open(&self, _: &Peer, _: &mut Reply) -> Outcome {
        Ok(())
    }

    fn resume(&self, _: &Peer, _: &[u8]) -> Option<()> {
        Some(())
    }

    fn answer(&self, (): &mut (), message: &[u8], reply: &mut Reply) -> impl Future<Output = Outcome> {
        self.0(message, reply)
    }
}

struct FromClosures<T, O, F> {
    open: O,
    answer: F,
    session: std::marker::PhantomData<fn() -> T>,
}

impl<T, O, F> Service for FromClosures<T, O, F>
where
    T: 'static,
    O: Fn(&Peer, &mut Reply) -> Outcome<T> + Send + Sync + 'static,
    F: AsyncFn(&mut T, &[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    type Session = T;

    fn open(&self, peer: &Peer, reply: &mut Reply) -> Outcome<T> {
        (self.open)(peer, reply)
    }

    fn answer(&self, session: &mut T, message: &[u8], reply: &mut Reply) -> impl Future<Output = Outcome> {
        (self.answer)(session, message, reply)
    }
}

impl<F> fmt::Debug for FromClosure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("service(..)")
    }
}

impl<T, O, F> fmt::Debug for FromClosures<T, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session(..)")
    }
}
