//! What stands in for TLS where it is not compiled in: there is none of it, so that nobody has to ask.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;

use crate::buffer::Pool;
use crate::event::Subscriber;
use crate::server::stream::{Readable, Stream};
use crate::server::{Handshake, ListenAddr};

/// The terms on which a listener speaks TLS: none does.
#[derive(Debug)]
pub(crate) enum Terms {}

/// A connection that speaks TLS: there is none.
pub(crate) enum Secured {}

/// How a handshake ended that did not succeed: there is none.
pub(crate) enum HandshakeFault {
    #[expect(dead_code, reason = "nobody makes one")]
    Io(io::Error),
    #[expect(dead_code, reason = "nobody makes one")]
    Tls(Box<str>),
}

impl Terms {
    pub(crate) fn secure(&self, _: AsyncFd<OwnedFd>, _: &Rc<Pool>, _: Option<Handshake>) -> Stream {
        match *self {}
    }

    pub(crate) fn renew(self: &Arc<Self>, _: &ListenAddr, _: &Arc<dyn Subscriber>) {
        match **self {}
    }
}

impl Secured {
    pub(crate) fn socket(&self) -> &AsyncFd<OwnedFd> {
        match *self {}
    }

    pub(crate) fn poll_handshake(&self, _: &mut Context<'_>) -> Poll<Result<(), HandshakeFault>> {
        match *self {}
    }

    pub(crate) fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        match *self {}
    }

    pub(crate) fn poll_read<'a>(
        &'a self,
        _: &mut Context<'_>,
        _: Readable<'a>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_write(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_flush(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(crate) fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(crate) fn say_goodbye(&self) {
        match *self {}
    }

    pub(crate) fn unsent(&self) -> usize {
        match *self {}
    }

    pub(crate) fn is_torn(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_within_record(&self) -> bool {
        match *self {}
    }

    pub(crate) fn has_plain(&self) -> bool {
        match *self {}
    }
}
