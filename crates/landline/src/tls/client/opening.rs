//! What a server begins with, which tells whether it speaks TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Stream;

/// The header of a record, and the kind of the handshake message in it.
const LEN: usize = 6;

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;

/// A connection, with the first bytes that came from it.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) stream: Stream,
    first: [u8; LEN],
    len: usize,
}

impl Opening {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, first: [0; LEN], len: 0 }
    }

    /// Whether what came so far can't be from a server that speaks TLS.
    pub(super) fn is_not_tls(&self) -> bool {
        is_not_tls(&self.first[..self.len])
    }

    fn note(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(LEN - self.len);
        self.first[self.len..self.len + count].copy_from_slice(&bytes[..count]);
        self.len += count;
    }
}

fn is_not_tls(first: &[u8]) -> bool {
    match first {
        // What a server says first is no greeting of a client: this one sends back what it gets.
        [HANDSHAKE, 3, _, _, _, kind, ..] => !matches!(*kind, HELLO_REQUEST | SERVER_HELLO),
        _ => !matches!(first, [] | [ALERT | HANDSHAKE] | [ALERT | HANDSHAKE, 3, ..]),
    }
}

impl AsyncRead for Opening {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.len < LEN {
            this.note(&buf.filled()[before..]);
            if this.is_not_tls() {
                // Less than a whole record may have come, for more of which TLS would wait.
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opening {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::is_not_tls;

    #[test]
    fn what_a_server_begins_with_tells_whether_it_speaks_tls() {
        for tls in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x03\x00\x7a\x02", b"\x15\x03\x03\x00\x02\x02"]
        {
            assert!(!is_not_tls(tls), "{tls:x?}");
        }
        for other in [&b"2"[..], b"busy\n", b"\x16\x04", b"\x15\x15", b"\x16\x03\x01\x02\x00\x01"] {
            assert!(is_not_tls(other), "{other:x?}");
        }
    }
}
