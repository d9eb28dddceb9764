//! How a conversation goes.

use super::connector::Connector;
use super::conversation::Conversation;
use super::stream::Stream;
use crate::address::Address;
use crate::error::Error;
use crate::frame::{Ending, Framing};

/// How a [`Conversation`] connects and talks.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until converse is called"]
pub struct Options {
    connector: Connector,
    pub(super) framing: Framing,
    pub(super) ending: Ending,
    pub(super) max_message: usize,
}

impl Options {
    /// The defaults: `line` framing ended by LF, answers up to 1 MiB, and a connection as
    /// [`Connector::new`] makes it.
    pub fn new() -> Self {
        Self {
            connector: Connector::new(),
            framing: Framing::Line,
            ending: Ending::Lf,
            // What a landline server takes by default, so that an echo of the longest message fits.
            max_message: 1 << 20,
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

    /// The longest answer, in bytes, delimiters not counted. It bounds the memory that a server can make this
    /// client use; `raw` framing is bound by what arrives before a message is sent. The default is 1 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
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

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
