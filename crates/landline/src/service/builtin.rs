//! The services that come with landline. None of them waits: what they return is ready, and takes no room in
//! a connection's future.

use std::future::ready;

use super::{Reply, Service};
use crate::error::Outcome;
use crate::server::Peer;
use crate::sys::upper::upper;

/// Answers each message in upper case: ASCII letters only, other bytes pass unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upper;

/// Answers each message with itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl Service for Upper {
    type Session = ();

    fn open(&self, _: &Peer, _: &mut Reply) -> Outcome {
        Ok(())
    }

    fn resume(&self, _: &Peer, _: &[u8]) -> Option<()> {
        Some(())
    }

    fn answer(&self, (): &mut (), message: &[u8], reply: &mut Reply) -> impl Future<Output = Outcome> {
        reply.send_with(message.len(), |answer| upper(message, answer));
        ready(Ok(()))
    }
}

impl Service for Echo {
    type Session = ();

    fn open(&self, _: &Peer, _: &mut Reply) -> Outcome {
        Ok(())
    }

    fn resume(&self, _: &Peer, _: &[u8]) -> Option<()> {
        Some(())
    }

    fn answer(&self, (): &mut (), message: &[u8], reply: &mut Reply) -> impl Future<Output = Outcome> {
        reply.send(message);
        ready(Ok(()))
    }
}
