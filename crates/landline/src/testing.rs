//! Drives one conversation without a network, for tests of handlers and services.
//!
//! The handler gets one end of a [`tokio::io::duplex`], the test holds the other. Under
//! `#[tokio::test(start_paused = true)]` time limits pass without being waited for.
//!
//! ```
//! use landline::testing::converse;
//! use landline::{CloseReason, Framing, Upper, framed};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let transcript = converse(framed(Framing::Line, Upper), async |mut caller| {
//!     caller.write_all(b"hello\nworld\n").await.unwrap();
//!     let mut replies = [0; 12];
//!     caller.read_exact(&mut replies).await.unwrap();
//!     assert_eq!(&replies, b"HELLO\nWORLD\n");
//! })
//! .await;
//! assert_eq!(transcript.reason(), CloseReason::PeerClosed);
//! # }
//! ```

use std::sync::Arc;

use tokio::io::DuplexStream;

use crate::close::CloseReason;
use crate::event::{Event, Recorder};
use crate::server::{Connection, Handler, Policy, drive};

/// How much each direction of the stream holds, in bytes, before a writer has to wait.
pub const CAPACITY: usize = 64 << 10;

/// What happened in a conversation.
#[derive(Debug, Clone)]
pub struct Transcript {
    events: Vec<Event>,
}

impl Transcript {
    /// Every event, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Why the connection ended.
    ///
    /// # Panics
    /// When it has not ended, because the handler keeps it somewhere.
    pub fn reason(&self) -> CloseReason {
        let reason = self.events.iter().find_map(|event| match event {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        });
        reason.expect("the connection has ended")
    }
}

/// Lets a caller talk to a handler, with the default limits, until both are done. The caller hangs up by
/// dropping its end.
pub async fn converse<H: Handler>(handler: H, caller: impl AsyncFnOnce(DuplexStream)) -> Transcript {
    converse_with(Policy::default(), handler, caller).await
}

/// As [`converse`], with limits of one's own.
pub async fn converse_with<H: Handler>(
    policy: Policy,
    handler: H,
    caller: impl AsyncFnOnce(DuplexStream),
) -> Transcript {
    let events = Arc::new(Recorder::default());
    let (near, far) = tokio::io::duplex(CAPACITY);
    let subscriber: Arc<dyn crate::event::Subscriber> = events.clone();
    let local = Connection::alone(subscriber).expect("one slot of memory");
    let connection = Connection::over(&local, policy, near).expect("the only connection");
    let link = connection.into_link();
    tokio::select! {
        ((), ()) = async { tokio::join!(drive(&handler, link), caller(far)) } => {}
        () = local.sweep(None) => {}
    }
    Transcript { events: events.events() }
}
