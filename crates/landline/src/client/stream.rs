//! A connection to a server, as bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{tcp, unix};

use super::Way;
use super::socket::Socket;

/// A connection to a server: bytes both ways, over TCP or a Unix socket, with TLS or without.
///
/// What was written goes out with the next `flush` at the latest. `shutdown` ends our side (after the end of
/// TLS, where that is spoken); what the server still says can be read to its end. With TLS, a connection that
/// ends before TLS has is an error of reading; [`lost`](super::lost) says what an error means.
pub struct Stream(Inner);

enum Inner {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<super::TlsStream>),
    /// Whatever it is made of.
    Other(Box<dyn Io>),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for S {}

impl Stream {
    /// Makes one of any stream, which is taken for one without TLS: for tests, and for what looks at all that
    /// passes.
    pub fn from_io(stream: impl AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static) -> Self {
        Self(Inner::Other(Box::new(stream)))
    }

    pub(super) fn plain(socket: Socket) -> Self {
        Self(Inner::Plain(socket))
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(stream: super::TlsStream) -> Self {
        Self(Inner::Tls(Box::new(stream)))
    }

    /// The version of TLS that is spoken, as people say it: `TLS 1.3`; `None` in plain text.
    pub fn tls_version(&self) -> Option<&'static str> {
        match &self.0 {
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => Some(stream.version()),
            _ => None,
        }
    }

    /// The application protocol (ALPN) on which both ends agreed; `None` when there was nothing to agree on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.0 {
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => stream.alpn(),
            _ => None,
        }
    }

    /// The server's address, if it is one of the network and the connection is not gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self.socket()? {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Our own address, if it is one of the network.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.socket()? {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// What the kernel has measured on the way to the server; see [`way`](super::way).
    pub fn way(&self) -> Option<Way> {
        super::way(self.socket()?)
    }

    /// Makes two of it, one to read and one to write. Without TLS they don't wait for each other.
    ///
    /// Dropping the one that writes ends our side of a plain connection, as `shutdown` does.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        let (reader, writer) = match self.0 {
            Inner::Plain(Socket::Tcp(socket)) => {
                let (reader, writer) = socket.into_split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Inner::Plain(Socket::Unix(socket)) => {
                let (reader, writer) = socket.into_split();
                (Reader::Unix(reader), Writer::Unix(writer))
            }
            inner => {
                let (reader, writer) = tokio::io::split(Self(inner));
                (Reader::Shared(reader), Writer::Shared(writer))
            }
        };
        (ReadHalf(reader), WriteHalf(writer))
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        match &self.0 {
            Inner::Plain(socket) => Some(socket),
            #[cfg(feature = "tls")]
            Inner::Tls(stream) => stream.below().socket(),
            Inner::Other(_) => None,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("tls_version", &self.tls_version())
            .finish_non_exhaustive()
    }
}

/// Does the same with whichever stream it is.
macro_rules! either {
    ($stream:expr, $inner:ident => $done:expr) => {
        match &mut $stream.get_mut().0 {
            Inner::Plain($inner) => $done,
            #[cfg(feature = "tls")]
            Inner::Tls($inner) => $done,
            Inner::Other($inner) => $done,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

/// What the server says on a [`Stream`].
#[derive(Debug)]
pub struct ReadHalf(Reader);

/// What the server is told on a [`Stream`].
#[derive(Debug)]
pub struct WriteHalf(Writer);

#[derive(Debug)]
enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Shared(tokio::io::ReadHalf<Stream>),
}

#[derive(Debug)]
enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    Shared(tokio::io::WriteHalf<Stream>),
}

/// Does the same with whichever half it is.
macro_rules! half {
    ($kind:ident, $half:expr, $inner:ident => $done:expr) => {
        match &mut $half.get_mut().0 {
            $kind::Tcp($inner) => $done,
            $kind::Unix($inner) => $done,
            $kind::Shared($inner) => $done,
        }
    };
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        half!(Reader, self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        half!(Writer, self, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        half!(Writer, self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        half!(Writer, self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
