//! How messages are delimited in a stream of bytes.
//!
//! Everything here is pure: it takes bytes and says where the messages are. It does no I/O, reads no clock,
//! never awaits and never changes its input, so a test, a fuzzer or another driver can use it as it is.

mod length;
mod line;
mod raw;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// How messages are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Framing {
    /// A message is what one read brought; `max_message` does not apply.
    Raw,
    /// LF or CRLF ends a message and is not part of it; a reply gets the ending its message had.
    /// A remainder at the end of input is a message, and its reply has no ending either.
    Line,
    /// A 32-bit big-endian length, then that many bytes.
    Length,
}

/// What ends a message of the `line` framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ending {
    /// Nothing: the input ended without an ending.
    None,
    /// A line feed.
    #[default]
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

/// What a [`Decoder`] found at the front of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// One message: `input[body]`. It took up `input[..end]`, delimiters included.
    Message {
        /// Where the message itself lies.
        body: Range<usize>,
        /// How many bytes it took up.
        end: usize,
        /// What ended it; only the `line` framing has endings.
        ending: Ending,
    },
    /// No complete message yet; the input must hold at least this many bytes before there can be one.
    More {
        /// The least length of input that could hold a message; always more than the input now has.
        at_least: usize,
    },
}

/// Why a stream can't be cut into messages. It ends the connection: nothing is resynchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The message is longer than `max_message`.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The input ended within a message.
    Truncated {
        /// How many bytes of it had arrived, delimiters included.
        have: usize,
    },
}

/// Cuts one stream into messages; one per connection.
#[derive(Debug, Clone)]
pub struct Decoder {
    framing: Framing,
    max_message: usize,
    /// How much of the input at hand is known to hold no delimiter, so that no byte is looked at twice;
    /// beyond 4 GiB some are.
    scanned: u32,
}

impl Decoder {
    /// A decoder at the start of a stream. `max_message` bounds a message's bytes, delimiters not counted.
    pub fn new(framing: Framing, max_message: usize) -> Self {
        Self { framing, max_message, scanned: 0 }
    }

    /// The framing it was made for.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Finds the first message of `input`. Between two messages the caller drops what the first took up;
    /// after [`Cut::More`] it calls again with the same bytes and more behind them.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], as soon as it is known; the decoder is of no use afterwards.
    #[inline]
    pub fn next(&mut self, input: &[u8]) -> Result<Cut, FrameError> {
        let cut = match self.framing {
            Framing::Raw => raw::next(input),
            Framing::Line => line::next(input, self.scanned as usize, self.max_message)?,
            Framing::Length => length::next(input, self.max_message)?,
        };
        self.scanned = match cut {
            Cut::More { .. } => u32::try_from(input.len()).unwrap_or(u32::MAX),
            Cut::Message { .. } => 0,
        };
        Ok(cut)
    }

    /// What is left in `input` at the end of the stream, after [`next`](Self::next) said there is no complete
    /// message: a last message, or nothing.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when the stream ended within a message, [`FrameError::TooLong`] when what is left
    /// is longer than a message may be.
    pub fn finish(&mut self, input: &[u8]) -> Result<Option<Cut>, FrameError> {
        self.scanned = 0;
        match self.framing {
            _ if input.is_empty() => Ok(None),
            Framing::Raw => Ok(Some(raw::next(input))),
            Framing::Line => line::remainder(input, self.max_message).map(Some),
            Framing::Length => Err(FrameError::Truncated { have: input.len() }),
        }
    }
}

impl Framing {
    /// Every framing, in the order the docs list them.
    pub const ALL: [Framing; 3] = [Framing::Raw, Framing::Line, Framing::Length];

    /// How many bytes to leave free before a message, for [`seal`](Self::seal) to fill.
    pub const fn prefix_len(self) -> usize {
        match self {
            Framing::Raw | Framing::Line => 0,
            Framing::Length => length::PREFIX,
        }
    }

    /// Completes an outgoing message: writes the prefix into the first [`prefix_len`](Self::prefix_len) bytes
    /// of `message` and returns what has to follow it.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the length can't be expressed.
    #[inline]
    pub fn seal(self, message: &mut [u8], ending: Ending) -> Result<&'static [u8], FrameError> {
        match self {
            Framing::Raw => Ok(b""),
            Framing::Line => Ok(ending.as_bytes()),
            Framing::Length => length::seal(message).map(|()| &b""[..]),
        }
    }

    /// Its name, as flags and config write it.
    pub const fn name(self) -> &'static str {
        match self {
            Framing::Raw => "raw",
            Framing::Line => "line",
            Framing::Length => "length",
        }
    }
}

impl Ending {
    /// The bytes themselves.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Ending::None => b"",
            Ending::Lf => b"\n",
            Ending::CrLf => b"\r\n",
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Framing {
    type Err = UnknownFraming;

    fn from_str(name: &str) -> Result<Self, UnknownFraming> {
        Self::ALL.into_iter().find(|framing| framing.name() == name).ok_or(UnknownFraming)
    }
}

/// A name that is no framing's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFraming;

impl fmt::Display for UnknownFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a framing is one of raw, line, length")
    }
}

impl std::error::Error for UnknownFraming {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { limit } => write!(f, "a message longer than {limit} bytes"),
            FrameError::Truncated { have } => write!(f, "the input ended {have} bytes into a message"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `stream` to a decoder in pieces cut at `cuts` and gathers the messages.
    fn decode(
        framing: Framing,
        max: usize,
        stream: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut decoder = Decoder::new(framing, max);
        let (mut held, mut messages) = (Vec::new(), Vec::new());
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        bounds.push(stream.len());
        bounds.sort_unstable();
        let mut from = 0;
        for to in bounds {
            held.extend_from_slice(&stream[from..to]);
            from = to;
            while let Cut::Message { body, end, .. } = decoder.next(&held)? {
                messages.push(held[body].to_vec());
                held.drain(..end);
            }
        }
        if let Some(Cut::Message { body, .. }) = decoder.finish(&held)? {
            messages.push(held[body].to_vec());
        }
        Ok(messages)
    }

    fn encode(framing: Framing, messages: &[Vec<u8>], ending: Ending) -> Vec<u8> {
        let mut stream = Vec::new();
        for message in messages {
            let start = stream.len();
            stream.resize(start + framing.prefix_len(), 0);
            stream.extend_from_slice(message);
            let suffix = framing.seal(&mut stream[start..], ending).unwrap();
            stream.extend_from_slice(suffix);
        }
        stream
    }

    fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // A carriage return at the end of a line is part of a CRLF ending, so no message may end in one.
        let line = prop::collection::vec(any::<u8>().prop_filter("no LF", |b| *b != b'\n'), 0..40)
            .prop_filter("no CR at the end", |line| line.last() != Some(&b'\r'));
        prop::collection::vec(line, 0..20)
    }

    proptest! {
        #[test]
        fn lines_come_out_the_same_however_the_stream_is_cut(
            messages in lines(), cuts in prop::collection::vec(any::<usize>(), 0..30), crlf: bool,
        ) {
            let ending = if crlf { Ending::CrLf } else { Ending::Lf };
            let stream = encode(Framing::Line, &messages, ending);
            prop_assert_eq!(decode(Framing::Line, 64, &stream, &cuts).unwrap(), messages);
        }

        #[test]
        fn length_prefixed_messages_come_out_the_same_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(any::<usize>(), 0..30),
        ) {
            let stream = encode(Framing::Length, &messages, Ending::Lf);
            prop_assert_eq!(decode(Framing::Length, 64, &stream, &cuts).unwrap(), messages);
        }

        #[test]
        fn no_input_makes_a_decoder_panic_or_pass_a_message_over_the_limit(
            stream in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(any::<usize>(), 0..10),
        ) {
            for framing in [Framing::Line, Framing::Length] {
                if let Ok(messages) = decode(framing, 16, &stream, &cuts) {
                    prop_assert!(messages.iter().all(|message| message.len() <= 16));
                }
            }
        }
    }

    #[test]
    fn a_remainder_at_the_end_of_input_is_a_line_but_no_length_prefixed_message() {
        assert_eq!(decode(Framing::Line, 64, b"one\ntwo", &[]).unwrap(), [b"one", b"two"]);
        let truncated = decode(Framing::Length, 64, &[0, 0, 0, 9, b'x'], &[]);
        assert_eq!(truncated, Err(FrameError::Truncated { have: 5 }));
    }

    #[test]
    fn a_framing_is_read_back_from_its_name() {
        for framing in Framing::ALL {
            assert_eq!(framing.to_string().parse(), Ok(framing));
        }
        assert_eq!("lines".parse::<Framing>(), Err(UnknownFraming));
    }
}
