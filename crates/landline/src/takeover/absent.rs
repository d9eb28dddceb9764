//! Where there is no keeper: nothing is taken over, and nobody gives orders.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::Socket;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::event::Subscriber;
use crate::server::Ask;
use crate::server::table::Table;
#[cfg(feature = "metrics")]
use crate::{event::metrics::Counts, sys::region::Region};

/// That a listener is on record.
#[derive(Debug)]
pub(crate) enum OnRecord {}

impl OnRecord {
    pub(crate) fn is_closed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match *self {}
    }

    pub(crate) fn leave(&mut self, _: &Socket) -> bool {
        match *self {}
    }
}

/// What a thread tells its keeper.
#[derive(Debug)]
pub(crate) enum Pulse {}

impl Pulse {
    pub(crate) fn begin(&self) -> Beating {
        match *self {}
    }

    pub(crate) fn beat(&self) {
        match *self {}
    }

    pub(crate) fn serve(&self, _: usize) {
        match *self {}
    }

    pub(crate) fn rest(&self) {
        match *self {}
    }
}

/// That an event loop is to turn.
pub(crate) enum Beating {}

pub(crate) fn pulse(_: usize) -> Option<Pulse> {
    None
}

/// What the keeper orders.
pub(crate) struct Orders(Infallible);

impl Orders {
    #[expect(clippy::unused_async, reason = "where there are orders, they are waited for")]
    pub(crate) async fn next(&mut self) -> Ask {
        match self.0 {}
    }
}

pub(crate) fn table(_: usize) -> Option<Arc<Table>> {
    None
}

#[cfg(feature = "metrics")]
pub(crate) fn counts() -> Option<Region<Counts>> {
    None
}

pub(crate) fn on_record(_: &Address) -> Vec<(Socket, OnRecord)> {
    Vec::new()
}

pub(crate) fn publish(_: &Address, sockets: &[&Socket]) -> Vec<Option<OnRecord>> {
    sockets.iter().map(|_| None).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "where there are orders, waiting for them can fail")]
pub(crate) fn orders() -> io::Result<Option<Orders>> {
    Ok(None)
}

pub(crate) fn serving() {}

pub(crate) fn tell(_: &dyn Subscriber) {}

pub(crate) fn tell_of_upgrade(_: &dyn Subscriber) {}

pub(crate) fn ending() {}

pub(crate) fn ending_for() -> Option<Duration> {
    None
}

pub(crate) fn may_serve(_: bool, _: impl Fn() -> bool) -> bool {
    true
}

pub(crate) fn parted() -> &'static CancellationToken {
    static PARTED: OnceLock<CancellationToken> = OnceLock::new();
    PARTED.get_or_init(CancellationToken::new)
}

/// This process: there is no keeper.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}
