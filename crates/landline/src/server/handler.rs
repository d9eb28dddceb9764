//! The first level: code that owns one whole connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::connection::Connection;
use super::peer::Peer;
use crate::error::Outcome;

/// Code that owns one whole connection. One handler serves all connections, on every thread.
///
/// Its futures stay on one thread, so they need not be `Send`: plain async closures with captures are
/// handlers.
///
/// ```
/// use landline::{Connection, Handler};
/// use tokio::io::AsyncWriteExt;
///
/// let greeter = async |mut conn: Connection| {
///     conn.write_all(b"welcome\n").await?;
///     Ok(())
/// };
/// # fn check(_: impl Handler) {}
/// # check(greeter);
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Serves one connection until it is done with it. An error ends the connection with
    /// [`HandlerFailed`](crate::CloseReason::HandlerFailed) and is reported in the event. The future is
    /// dropped where it stands when a time limit is passed or a drain is over.
    fn handle(&self, conn: Connection) -> impl Future<Output = Outcome>;

    /// Whether it can go on with connections that another process began. Only [`framed`](crate::framed)
    /// services can.
    #[doc(hidden)]
    fn resumes(&self) -> bool {
        false
    }

    /// Whether another process could go on with a connection whose session was put down so.
    #[doc(hidden)]
    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool {
        let _ = (peer, saved);
        false
    }
}

impl<F> Handler for F
where
    F: AsyncFn(Connection) -> Outcome + Send + Sync + 'static,
{
    fn handle(&self, conn: Connection) -> impl Future<Output = Outcome> {
        self(conn)
    }
}

/// A handler chosen at run time. It costs one allocation per connection.
#[derive(Clone)]
pub struct AnyHandler(Arc<dyn Erased>);

trait Erased: Send + Sync {
    fn handle(&self, conn: Connection) -> Pin<Box<dyn Future<Output = Outcome> + '_>>;
    fn resumes(&self) -> bool;
    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool;
}

impl<H: Handler> Erased for H {
    fn handle(&self, conn: Connection) -> Pin<Box<dyn Future<Output = Outcome> + '_>> {
        Box::pin(Handler::handle(self, conn))
    }

    fn resumes(&self) -> bool {
        Handler::resumes(self)
    }

    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool {
        Handler::can_resume(self, peer, saved)
    }
}

impl AnyHandler {
    /// Forgets what kind of handler it is.
    pub fn new(handler: impl Handler) -> Self {
        Self(Arc::new(handler))
    }
}

impl Handler for AnyHandler {
    fn handle(&self, conn: Connection) -> impl Future<Output = Outcome> {
        self.0.handle(conn)
    }

    fn resumes(&self) -> bool {
        self.0.resumes()
    }

    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool {
        self.0.can_resume(peer, saved)
    }
}

impl fmt::Debug for AnyHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyHandler")
    }
}
