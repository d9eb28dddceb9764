//! A connection that speaks TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::opening::Opening;
use super::trust::Credentials;
use super::words;
use crate::address::Address;
use crate::client::{Stream, TlsFailure, cannot_speak};
use crate::error::{Error, Kind, TlsTrouble};

/// What the other end is called.
const SERVER: &str = "the server";

/// A connection to a server, encrypted, and with the server verified unless that was given up.
///
/// The end of what the server says is the end of its TLS. A connection that ends before that is an error of
/// reading, after everything that came: what else was meant to come may have been cut off by anybody.
/// [`lost`](crate::client::lost) says what an error means.
///
/// What was written goes out with the next `flush` at the latest. `shutdown` ends our side of TLS and then of
/// the connection; the server's goes on, and what it still says can be read.
#[derive(Debug)]
pub(crate) struct TlsStream {
    inner: tokio_rustls::client::TlsStream<Opening>,
    credentials: Arc<Credentials>,
    /// Whether the server has said anything since the handshake.
    heard: bool,
}

impl TlsStream {
    /// The application protocol (ALPN) on which both ends agreed; `None` when there was nothing to agree on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.inner.get_ref().1.alpn_protocol()
    }

    /// The version that is spoken, as people say it: `TLS 1.3`.
    pub(crate) fn version(&self) -> &'static str {
        match self.inner.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        }
    }

    /// The connection under it.
    pub(crate) fn below(&self) -> &Stream {
        &self.inner.get_ref().0.stream
    }

    /// The same error, told as what it means.
    fn explain(&self, error: io::Error) -> io::Error {
        let refused = |trouble, words| {
            io::Error::new(io::ErrorKind::InvalidData, TlsFailure::Refused { trouble, words })
        };
        if !self.heard && is_for_want_of_a_certificate(&error, &self.credentials) {
            return refused(TlsTrouble::CertificateWanted, words::wanted(SERVER));
        }
        if let Some(cause) = tls_cause(&error) {
            return refused(words::trouble(cause), words::words(cause, SERVER));
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), TlsFailure::CutOff),
            _ => error,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buf));
        this.heard |= buf.filled().len() > before;
        Poll::Ready(read.map_err(|error| this.explain(error)))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_write(cx, bytes).map_err(|error| this.explain(error))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_flush(cx).map_err(|error| this.explain(error))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_shutdown(cx).map_err(|error| this.explain(error))
    }
}

/// Speaks TLS with whoever has accepted, until both ends are ready for what they have to say.
pub(super) async fn shake_hands(
    address: &Address,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: Stream,
    credentials: Arc<Credentials>,
) -> Result<TlsStream, Error> {
    let connecting = TlsConnector::from(config).connect(name, Opening::new(stream));
    match connecting.into_fallible().await {
        Ok(inner) => Ok(TlsStream { inner, credentials, heard: false }),
        Err((error, opening)) => Err(failed(address, error, &opening, &credentials)),
    }
}

fn failed(address: &Address, error: io::Error, opening: &Opening, credentials: &Credentials) -> Error {
    if opening.is_not_tls() {
        let text = format!("{address} does not speak TLS");
        return Error::new(Kind::Tls, text, "").with_trouble(TlsTrouble::NotTls);
    }
    let refused =
        |trouble, words: String| Error::new(Kind::Tls, cannot_speak(address), words).with_trouble(trouble);
    if is_for_want_of_a_certificate(&error, credentials) {
        return refused(TlsTrouble::CertificateWanted, words::wanted(SERVER));
    }
    match tls_cause(&error) {
        Some(cause @ rustls::Error::InvalidCertificate(_)) => {
            let (trouble, words) = (words::trouble(cause), words::words(cause, SERVER));
            Error::new(Kind::Tls, format!("cannot trust {address}"), words).with_trouble(trouble)
        }
        Some(cause) => refused(words::trouble(cause), words::words(cause, SERVER)),
        None if error.kind() == io::ErrorKind::ConnectionReset => {
            refused(TlsTrouble::Closed, "the server reset the connection within the handshake".to_owned())
        }
        None if is_gone(&error) => {
            refused(TlsTrouble::Closed, "the server closed the connection within the handshake".to_owned())
        }
        None => Error::io(Kind::Lost, cannot_speak(address), error),
    }
}

/// Whether a server gave up that has asked for a certificate and got none. With TLS 1.2 it has no word for
/// that, and what it says before it closes may be lost in a reset.
fn is_for_want_of_a_certificate(error: &io::Error, credentials: &Credentials) -> bool {
    let gave_up = match tls_cause(error) {
        Some(rustls::Error::AlertReceived(alert)) => words::may_want_a_certificate(*alert),
        Some(_) => false,
        None => is_gone(error),
    };
    gave_up && credentials.were_missed()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
