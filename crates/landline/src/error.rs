//! What can go wrong with a whole server or client, and the words for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::{fmt, io};

/// The error of a user's handler or service; landline makes an event and a close reason of it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a user's handler or service returns.
pub type Outcome<T = ()> = Result<T, BoxError>;

/// What went wrong with a server or a client as a whole.
///
/// Its text names the operation, the address and the cause: `cannot connect to 127.0.0.1:8081: connection
/// refused`.
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    operation: String,
    cause: String,
    source: Option<Arc<io::Error>>,
    trouble: Option<TlsTrouble>,
    unsent: bool,
}

/// What was wrong with TLS, for programs that can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsTrouble {
    /// The peer speaks something else, as far as what it sent tells.
    NotTls,
    /// The peer speaks TLS, and was spoken to in plain text.
    PlainText,
    /// Nobody who is trusted here has issued the peer's certificate.
    UnknownIssuer,
    /// The peer's certificate is signed with its own key, by nobody else.
    SelfSigned,
    /// The peer's certificate is for other names.
    WrongName,
    /// The peer's certificate is no longer valid, or not yet.
    OutOfDate,
    /// The peer asks for a certificate of ours, and there was none.
    CertificateWanted,
    /// The handshake was not done in time.
    Stalled,
    /// The peer has closed before the handshake was done.
    Closed,
    /// Anything else; the text of the error says it.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An address or an option that makes no sense.
    Config,
    /// A name that could not be resolved.
    Resolve,
    /// A peer that could not be reached.
    Connect,
    /// A deadline that passed.
    Timeout,
    /// A connection that ended before its time.
    Lost,
    /// Bytes that can't be cut into messages, or a message that can't be put into bytes.
    Framing,
    /// An address that could not be listened on.
    Listen,
    /// A server that can't go on.
    Serve,
    /// A peer with which TLS can't be spoken.
    Tls,
}

impl Error {
    /// An error of the operating system.
    pub(crate) fn io(kind: Kind, operation: impl Into<String>, source: io::Error) -> Self {
        let cause = describe(&source);
        let operation = operation.into();
        Self(Box::new(Inner {
            kind,
            operation,
            cause,
            source: Some(Arc::new(source)),
            trouble: None,
            unsent: false,
        }))
    }

    /// An error of our own finding. Without a cause, the operation says everything.
    pub(crate) fn new(kind: Kind, operation: impl Into<String>, cause: impl Into<String>) -> Self {
        let (operation, cause) = (operation.into(), cause.into());
        Self(Box::new(Inner { kind, operation, cause, source: None, trouble: None, unsent: false }))
    }

    /// Says what it has to do with TLS.
    pub(crate) fn with_trouble(mut self, trouble: TlsTrouble) -> Self {
        self.0.trouble = Some(trouble);
        self
    }

    /// Says that nothing of a message was sent.
    pub(crate) fn with_unsent(mut self) -> Self {
        self.0.unsent = true;
        self
    }

    /// The same for another whom it concerns.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// The error is that of an ask whose message was certainly not sent: it can be asked again without fear
    /// that the server acts on it twice.
    pub fn is_unsent(&self) -> bool {
        self.0.unsent
    }

    /// An address or an option made no sense.
    pub fn is_config(&self) -> bool {
        self.0.kind == Kind::Config
    }

    /// A name could not be resolved.
    pub fn is_resolve(&self) -> bool {
        self.0.kind == Kind::Resolve
    }

    /// A peer could not be reached: it refused, or no route leads there.
    pub fn is_connect(&self) -> bool {
        self.0.kind == Kind::Connect
    }

    /// The peer was reached, and nothing listens at that address.
    pub fn is_refused(&self) -> bool {
        self.is_connect() && self.io_kind() == Some(io::ErrorKind::ConnectionRefused)
    }

    /// A deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// An established connection was reset, or closed before the answer was complete.
    pub fn is_lost(&self) -> bool {
        self.0.kind == Kind::Lost
    }

    /// What came can't be cut into messages, or a message is too long for its framing.
    pub fn is_framing(&self) -> bool {
        self.0.kind == Kind::Framing
    }

    /// TLS could not be spoken with the peer, or it is not who it has to be.
    pub fn is_tls(&self) -> bool {
        self.0.kind == Kind::Tls
    }

    /// What was wrong with TLS: for whatever [`is_tls`](Self::is_tls), and for a handshake that was not done
    /// in time ([`is_timeout`](Self::is_timeout)).
    pub fn tls_trouble(&self) -> Option<TlsTrouble> {
        self.0.trouble
    }

    /// A server could not listen on its address.
    pub fn is_listen(&self) -> bool {
        self.0.kind == Kind::Listen
    }

    /// A server could not listen because the address is taken.
    pub fn is_address_in_use(&self) -> bool {
        self.is_listen() && self.io_kind() == Some(io::ErrorKind::AddrInUse)
    }

    /// A server could not listen because that takes a privilege.
    pub fn is_permission(&self) -> bool {
        self.is_listen() && self.io_kind() == Some(io::ErrorKind::PermissionDenied)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.source.as_ref().map(|source| source.kind())
    }
}

/// The words for an error of the operating system, without its number: `connection refused`.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    // The standard library's words before those of the system's resolver.
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        // "I/O error" keeps its capitals.
        Some(first) if !letters.as_str().starts_with(|next: char| next.is_uppercase() || next == '/') => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause[..] {
            "" => f.write_str(&self.0.operation),
            cause => write!(f, "{}: {cause}", self.0.operation),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_operation_and_cause_without_numbers() {
        let refused = io::Error::from_raw_os_error(111);
        let error = Error::io(Kind::Connect, "cannot connect to 127.0.0.1:8081", refused);
        assert_eq!(error.to_string(), "cannot connect to 127.0.0.1:8081: connection refused");
        assert!(error.is_refused() && !error.is_timeout());
    }
}
