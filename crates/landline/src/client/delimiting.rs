//! How the messages of a client are delimited, both ways.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::frame::{Cut, Decoder, Ending, FrameError, Framing};

/// How messages are delimited: by one of the framings that servers have, too, or by a delimiter of any bytes,
/// for servers of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delimiting {
    /// By a framing; only the `line` framing has endings.
    Framed(Framing, Ending),
    /// By these bytes behind each message, of which they are no part. They are not empty.
    By(Bytes),
}

impl Delimiting {
    /// A message as it is sent.
    ///
    /// # Errors
    /// When it is longer than its framing can say.
    pub fn encode(&self, message: &[u8]) -> Result<BytesMut, FrameError> {
        match self {
            Delimiting::Framed(framing, ending) => {
                let mut bytes = BytesMut::zeroed(framing.prefix_len());
                bytes.extend_from_slice(message);
                let suffix = framing.seal(&mut bytes, *ending)?;
                bytes.extend_from_slice(suffix);
                Ok(bytes)
            }
            Delimiting::By(delimiter) => Ok([message, delimiter].concat()[..].into()),
        }
    }

    /// Whether a message would be several to the server, for it holds what ends one.
    pub fn splits(&self, message: &[u8]) -> bool {
        match self {
            Delimiting::Framed(Framing::Line, _) => memchr::memchr(b'\n', message).is_some(),
            Delimiting::Framed(..) => false,
            // The end of the message may be the beginning of a delimiter.
            Delimiting::By(delimiter) => {
                let sent = [message, delimiter].concat();
                memmem::find(&sent, delimiter) != Some(message.len())
            }
        }
    }

    /// Cuts what is received on one connection. A reply may have at most `max_message` bytes, delimiters not
    /// counted.
    pub fn cutter(&self, max_message: usize) -> Cutter {
        Cutter(match self {
            Delimiting::Framed(framing, _) => Rule::Framed(Decoder::new(*framing, max_message)),
            Delimiting::By(delimiter) => Rule::By { delimiter: delimiter.clone(), max_message, scanned: 0 },
        })
    }
}

/// Cuts what one connection brings into messages, as a [`Decoder`] does.
#[derive(Debug)]
pub struct Cutter(Rule);

#[derive(Debug)]
enum Rule {
    Framed(Decoder),
    By {
        delimiter: Bytes,
        max_message: usize,
        /// How much of the input at hand is known to hold no beginning of a delimiter.
        scanned: usize,
    },
}

impl Cutter {
    /// Finds the first message of `input`; see [`Decoder::next`].
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn next(&mut self, input: &[u8]) -> Result<Cut, FrameError> {
        match &mut self.0 {
            Rule::Framed(decoder) => decoder.next(input),
            Rule::By { delimiter, max_message, scanned } => {
                let too_long = FrameError::TooLong { limit: *max_message };
                let Some(at) = memmem::find(&input[*scanned..], delimiter) else {
                    // What may be the front of a delimiter is looked at again.
                    *scanned = input.len().saturating_sub(delimiter.len() - 1);
                    return if *scanned > *max_message {
                        Err(too_long)
                    } else {
                        Ok(Cut::More { at_least: input.len() + 1 })
                    };
                };
                let len = std::mem::take(scanned) + at;
                if len > *max_message {
                    return Err(too_long);
                }
                Ok(Cut::Message { body: 0..len, end: len + delimiter.len(), ending: Ending::None })
            }
        }
    }

    /// What is left in `input` at the end of the stream; see [`Decoder::finish`]. Without its delimiter, too,
    /// it is a message.
    ///
    /// # Errors
    /// As [`Decoder::finish`].
    pub fn finish(&mut self, input: &[u8]) -> Result<Option<Cut>, FrameError> {
        match &mut self.0 {
            Rule::Framed(decoder) => decoder.finish(input),
            Rule::By { .. } if input.is_empty() => Ok(None),
            Rule::By { max_message, .. } if input.len() > *max_message => {
                Err(FrameError::TooLong { limit: *max_message })
            }
            Rule::By { .. } => {
                let len = input.len();
                Ok(Some(Cut::Message { body: 0..len, end: len, ending: Ending::None }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(cutter: &mut Cutter, held: &mut Vec<u8>, messages: &mut Vec<Vec<u8>>) {
        while let Ok(Cut::Message { body, end, .. }) = cutter.next(held) {
            messages.push(held[body].to_vec());
            held.drain(..end);
        }
    }

    proptest! {
        /// However the stream is cut into reads, the messages that were sent come out.
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(b'a'..b'c', 0..9), 0..9),
            delimiter in prop::sample::select(vec![&b"\0"[..], b"c", b"cc", b"\r\n.\r\n", b"dad"]),
            size in 1..9_usize,
        ) {
            let delimiting = Delimiting::By(Bytes::from_static(delimiter));
            let stream: Vec<u8> =
                messages.iter().flat_map(|message| delimiting.encode(message).unwrap()).collect();
            let (mut cutter, mut held, mut found) = (delimiting.cutter(9), Vec::new(), Vec::new());
            for read in stream.chunks(size) {
                held.extend_from_slice(read);
                cut(&mut cutter, &mut held, &mut found);
            }
            prop_assert_eq!(found, messages);
            prop_assert_eq!(cutter.finish(&held), Ok(None));
        }
    }

    #[test]
    fn a_message_that_holds_its_end_would_be_several() {
        let line = Delimiting::Framed(Framing::Line, Ending::Lf);
        assert!(line.splits(b"a\nb") && !line.splits(b"a\rb"));
        assert!(!Delimiting::Framed(Framing::Length, Ending::Lf).splits(b"a\nb"));
        let by = |delimiter: &'static [u8]| Delimiting::By(Bytes::from_static(delimiter));
        assert!(by(b";;").splits(b"a;;b") && by(b";;").splits(b"a;") && !by(b";;").splits(b"a;b"));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_its_end_and_a_rest_is_a_message() {
        let delimiting = Delimiting::By(Bytes::from_static(b";;"));
        assert!(delimiting.cutter(4).next(b"1234;").is_ok(), "it may be the delimiter");
        assert!(delimiting.cutter(4).next(b"12345;").is_err());
        assert!(delimiting.cutter(4).next(b"12345;;").is_err());
        let rest = delimiting.cutter(4).finish(b"rest").unwrap();
        assert_eq!(rest, Some(Cut::Message { body: 0..4, end: 4, ending: Ending::None }));
    }
}
