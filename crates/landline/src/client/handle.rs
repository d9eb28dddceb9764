//! A client that many tasks ask at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::driver::Driver;
use super::stream::Stream;
use crate::address::Address;
use crate::error::{Error, Kind};

/// A connection to a server that many tasks share: each [`ask`](Self::ask) gets its own answer.
///
/// Clones share the connection. Asks are sent as they come, without waiting for the answers before them
/// (pipelining), and answers are given out in the order of the asks, for which the server has to keep that
/// order. It connects again when it has to: with the next ask after the connection was lost.
///
/// One task of the runtime does the work; it ends with the last clone, and closes the connection then.
///
/// ```
/// # use std::io::{BufRead, BufReader, Write};
/// use landline::Client;
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut stream, _) = listener.accept()?;
/// #     let reader = BufReader::new(stream.try_clone()?);
/// #     for line in reader.lines() {
/// #         writeln!(stream, "{}", line?.to_uppercase())?;
/// #     }
/// #     Ok(())
/// # });
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let client = Client::connect(address).await?;
/// let other = client.clone();
/// let (one, two) = tokio::join!(client.ask("one"), other.ask("two"));
/// assert_eq!((&one?[..], &two?[..]), (&b"ONE"[..], &b"TWO"[..]));
/// # Ok::<(), landline::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    address: Address,
    state: Arc<State>,
}

/// What is known of a client from outside.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) is_connected: AtomicBool,
    waiting: AtomicUsize,
}

/// A message on its way, and where its answer is to go.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) message: Bytes,
    /// It may be sent again when nobody knows whether it was acted on.
    pub(super) is_idempotent: bool,
    /// How often it may yet be sent.
    pub(super) attempts_left: u32,
    reply: oneshot::Sender<Result<Bytes, Error>>,
}

impl Ask {
    /// Whether anybody still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    pub(super) fn end(self, outcome: Result<Bytes, Error>) {
        // Whoever asked may have left.
        let _ = self.reply.send(outcome);
    }
}

impl Client {
    /// Connects with the defaults of [`Options::new`]: lines, and at most 1024 of them without an answer.
    ///
    /// # Errors
    /// Those of [`Options::connect`].
    ///
    /// # Cancel safety
    /// As [`Connector::connect`](super::Connector::connect).
    pub async fn connect<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        Options::new().connect(address).await
    }

    pub(super) fn start(options: &Options, address: Address, stream: Option<Stream>) -> Self {
        let (asks, waiting) = mpsc::channel(options.flying_max());
        let state = Arc::new(State::default());
        let driver = Driver::new(options.clone(), address.clone(), waiting, state.clone());
        tokio::spawn(driver.run(stream));
        Self { asks, shared: Arc::new(Shared { options: options.clone(), address, state }) }
    }

    /// Sends a message, and returns the answer to it, without delimiters.
    ///
    /// It is sent at most once. If the connection is lost before any byte of it was sent, it goes to the next
    /// connection.
    ///
    /// # Errors
    /// Each tells of this ask alone, and [`is_unsent`](Error::is_unsent) says whether the server can't have
    /// seen it. [`is_lost`](Error::is_lost) when the connection was lost before the answer was there, be it
    /// that it was reset, closed, or that the server said what nobody had asked for.
    /// [`is_framing`](Error::is_framing) when an answer that was due was longer than
    /// [`max_message`](Options::max_message), which ends the connection for all; also when the message is
    /// longer than its framing can say, or holds what ends a message, as a line feed in `line` framing does:
    /// it would be several to the server, and every answer after it somebody else's. Those of
    /// [`Options::connect`] when there is no connection: an ask waits for the attempt to connect that is under
    /// way, or that is next, and has its error.
    /// [`is_timeout`](Error::is_timeout) after [`ask_timeout`](Options::ask_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the ask. If it was not handed to the connection, it is not sent; if it
    /// was, its answer is thrown away when it comes. Nobody else's answer is touched.
    pub async fn ask(&self, message: impl AsRef<[u8]>) -> Result<Bytes, Error> {
        self.send(message.as_ref(), false).await
    }

    /// Like [`ask`](Self::ask), for a message that does no harm when the server gets it more than once: if the
    /// connection is lost, or can't be made, it is sent again, up to
    /// [`attempts_max`](Options::attempts_max) times in all.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), of the last attempt.
    ///
    /// # Cancel safety
    /// As [`ask`](Self::ask).
    pub async fn ask_idempotent(&self, message: impl AsRef<[u8]>) -> Result<Bytes, Error> {
        self.send(message.as_ref(), true).await
    }

    async fn send(&self, message: &[u8], is_idempotent: bool) -> Result<Bytes, Error> {
        let Shared { options, address, state } = &*self.shared;
        if options.delimiting().splits(message) {
            let cause = "the message holds what ends a message, so that it would be several";
            return Err(Error::new(Kind::Framing, format!("cannot send to {address}"), cause).with_unsent());
        }
        let message = options.encode(address, message)?.freeze();
        let _waiting = Waiting::new(state);
        let work = self.hand_over(message, is_idempotent);
        match options.ask_timeout {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Timeout,
                    format!("no answer from {address}"),
                    format!("none within {limit:?}"),
                ))
            }),
        }
    }

    async fn hand_over(&self, message: Bytes, is_idempotent: bool) -> Result<Bytes, Error> {
        let attempts_left = self.shared.options.attempts_max;
        let (reply, answer) = oneshot::channel();
        let ask = Ask { message, is_idempotent, attempts_left, reply };
        let gone = || {
            // Only a runtime that is being shut down drops the task that works for a living client.
            let cannot = format!("no answer from {}", self.shared.address);
            Error::new(Kind::Lost, cannot, "the runtime of this client has ended")
        };
        self.asks.send(ask).await.map_err(|_| gone().with_unsent())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// How many asks wait for an answer now, those that wait for room included.
    pub fn waiting(&self) -> usize {
        self.shared.state.waiting.load(Relaxed)
    }

    /// Whether there is a connection, as far as is known: nobody has asked for it just now.
    pub fn is_connected(&self) -> bool {
        self.shared.state.is_connected.load(Relaxed)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.shared.address)
            .field("is_connected", &self.is_connected())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// An ask that waits, counted for as long as it does.
struct Waiting<'a>(&'a State);

impl<'a> Waiting<'a> {
    fn new(state: &'a State) -> Self {
        state.waiting.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
