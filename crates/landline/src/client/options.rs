//! How a client or a conversation goes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::backoff::Backoff;
use super::connector::Connector;
use super::conversation::Conversation;
use super::delimiting::{Cutter, Delimiting};
use super::handle::Client;
use super::stream::Stream;
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::frame::{Ending, Framing};

/// How a [`Client`] or a [`Conversation`] connects and talks.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until connect or converse is called"]
pub struct Options {
    pub(super) connector: Connector,
    framing: Framing,
    ending: Ending,
    delimiter: Option<Bytes>,
    pub(super) max_message: usize,
    in_flight_max: usize,
    pub(super) ask_timeout: Option<Duration>,
    pub(super) attempts_max: u32,
    pub(super) reconnect: Option<Backoff>,
    pub(super) greetings: usize,
}

impl Options {
    /// The defaults: `line` framing ended by LF, answers up to 1 MiB, and a connection as
    /// [`Connector::new`] makes it. A client has at most 1024 asks in flight, waits 10 s for an answer,
    /// connects again as [`Backoff::default`] says, and sends an idempotent ask at most three times.
    pub fn new() -> Self {
        Self {
            connector: Connector::new(),
            framing: Framing::Line,
            ending: Ending::Lf,
            delimiter: None,
            // What a landline server takes by default, so that an echo of the longest message fits.
            max_message: 1 << 20,
            // Enough to hide any network's round trip, few enough to wait for when a server is slow.
            in_flight_max: 1024,
            ask_timeout: Some(Duration::from_secs(10)),
            attempts_max: 3,
            reconnect: Some(Backoff::default()),
            greetings: 0,
        }
    }

    /// How the server is reached: in what time, from where, with TLS or without.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// How messages are delimited, both ways. With [`Framing::Raw`] an answer is what one read brings, so it
    /// may be a part of what the server meant, or more.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What ends a message on its way out; only the `line` framing has endings. An answer may end in either.
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Ends messages and answers with these bytes, in place of a framing. Without any, it changes nothing.
    pub fn delimiter(mut self, delimiter: impl Into<Bytes>) -> Self {
        self.delimiter = Some(delimiter.into()).filter(|delimiter| !delimiter.is_empty());
        self
    }

    /// The longest answer, in bytes, delimiters not counted. It bounds the memory that a server can make this
    /// client use; `raw` framing is bound by what arrives before a message is sent. The default is 1 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many asks of a client may be sent and unanswered at once, at least 1; as many more wait ready, and
    /// the next wait for room. Asks that were given up count until their answer came. With [`Framing::Raw`]
    /// it is always 1, since answers have no ends there. The default is 1024.
    pub fn in_flight_max(mut self, asks: usize) -> Self {
        self.in_flight_max = asks.max(1);
        self
    }

    pub(super) fn flying_max(&self) -> usize {
        if matches!(self.delimiting(), Delimiting::Framed(Framing::Raw, _)) { 1 } else { self.in_flight_max }
    }

    /// How long an ask of a client may take, waiting for room and for a connection included; `None` sets no
    /// limit. A server that says nothing at all for so long while something was asked is given up, and
    /// the next ask gets a new connection. The default is 10 s.
    pub fn ask_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.ask_timeout = timeout;
        self
    }

    /// How often [`ask_idempotent`](Client::ask_idempotent) sends a message at most, at least once. The
    /// default is 3.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// How a client connects again when its connection is lost; with `None` it does not, and every later ask
    /// is an error.
    pub fn reconnect(mut self, backoff: Option<Backoff>) -> Self {
        self.reconnect = backoff;
        self
    }

    /// How many messages the server says on each connection before it is asked anything, as those for mail
    /// do. A client waits for them and throws them away. The default is 0.
    pub fn greetings(mut self, messages: usize) -> Self {
        self.greetings = messages;
        self
    }

    /// Connects a client; see [`Connector::connect`] for how, and for cancel safety.
    ///
    /// # Errors
    /// Those of [`Connector::connect`], and whatever is wrong with the address itself
    /// ([`is_config`](Error::is_config)).
    pub async fn connect<A>(&self, address: A) -> Result<Client, Error>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let stream = self.connector.connect(&address).await?;
        Ok(Client::start(self, address, Some(stream)))
    }

    /// A client that connects when it is first asked something. It has to be made within a runtime of tokio.
    pub fn connect_later(&self, address: Address) -> Client {
        Client::start(self, address, None)
    }

    /// Connects; see [`Connector::connect`] for how, for the errors and for cancel safety.
    ///
    /// # Errors
    /// Those of [`Connector::connect`], and whatever is wrong with the address itself
    /// ([`is_config`](Error::is_config)).
    pub async fn converse<A>(&self, address: A) -> Result<Conversation, Error>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let stream = self.connector.connect(&address).await?;
        Ok(self.converse_over(stream, address))
    }

    /// Has the conversation over a stream that is there already; `address` is what errors call the server.
    pub fn converse_over(&self, stream: Stream, address: Address) -> Conversation {
        Conversation::new(stream, address, self)
    }
}

impl Options {
    /// How messages are delimited, all told.
    pub fn delimiting(&self) -> Delimiting {
        match &self.delimiter {
            Some(delimiter) => Delimiting::By(delimiter.clone()),
            None => Delimiting::Framed(self.framing, self.ending),
        }
    }

    /// A message as it goes to the server at `peer`.
    pub(super) fn encode(&self, peer: &Address, message: &[u8]) -> Result<BytesMut, Error> {
        self.delimiting()
            .encode(message)
            .map_err(|error| Error::new(Kind::Framing, format!("cannot send to {peer}"), error.to_string()))
    }

    pub(super) fn cutter(&self) -> Cutter {
        self.delimiting().cutter(self.max_message)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
