//! What a fuzzer calls, for nobody else: each reads what somebody else has written, and panics if that comes
//! out as it must not.

use crate::frame::{Cut, Decoder, FrameError, Framing};
use crate::proxy::{self, HEADER_MAX, Parsed};
use crate::tls::untrusted::hear;

/// The longest message of the streams that are made up here, in bytes: short ones get to the limit, too.
const MESSAGE_MAX: usize = 64;

/// Takes over memory with this in it.
pub fn memory(bytes: &[u8]) {
    crate::takeover::untrusted::try_out(bytes);
}

/// Cuts lines.
pub fn line(bytes: &[u8]) {
    check_framing(Framing::Line, bytes);
}

/// Cuts messages behind their lengths.
pub fn length(bytes: &[u8]) {
    check_framing(Framing::Length, bytes);
}

/// Takes what comes for messages.
pub fn raw(bytes: &[u8]) {
    check_framing(Framing::Raw, bytes);
}

/// Reads the header of a proxy, however much of it has come.
///
/// # Panics
/// When more of the same is not answered as it was, or there is no end to it.
pub fn proxy(bytes: &[u8]) {
    let whole = proxy::parse(bytes);
    for have in 0..bytes.len().min(HEADER_MAX + 1) {
        match proxy::parse(&bytes[..have]) {
            Ok(Parsed::Incomplete) => assert!(have < HEADER_MAX),
            said => assert_eq!(said, whole),
        }
    }
    if let Ok(Parsed::Complete(header)) = whole {
        assert!(header.len <= bytes.len().min(HEADER_MAX));
    }
}

/// Hears what a caller says first to a listener that speaks TLS.
///
/// # Panics
/// When it matters in which pieces it comes.
pub fn hello(bytes: &[u8]) {
    let Some((steps, stream)) = bytes.split_first_chunk::<4>() else { return };
    assert_eq!(hear(stream, &[]), hear(stream, steps));
}

/// What a stream was cut into, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Pieces {
    messages: Vec<Vec<u8>>,
    end: Result<(), FrameError>,
}

/// Cuts a stream as a whole and as it may arrive: how, the first bytes say.
fn check_framing(framing: Framing, bytes: &[u8]) {
    let Some((&steps, stream)) = bytes.split_first_chunk::<4>() else { return };
    let whole = cut(framing, stream, &[]);
    let split = cut(framing, stream, &steps);
    if framing == Framing::Raw {
        // What one read brought is a message, so only what they are together is the same.
        assert_eq!((whole.messages.concat(), whole.end), (split.messages.concat(), split.end));
        assert_eq!(whole.messages.concat(), stream);
        return;
    }
    assert!(whole.messages.iter().all(|message| message.len() <= MESSAGE_MAX));
    assert_eq!(whole, split);
}

/// Cuts a stream that arrives in pieces of these sizes, over and over, or in one.
fn cut(framing: Framing, stream: &[u8], steps: &[u8]) -> Pieces {
    let mut decoder = Decoder::new(framing, MESSAGE_MAX);
    let (mut messages, mut held, mut rest) = (Vec::new(), Vec::new(), stream);
    let mut steps = steps.iter().map(|step| usize::from(*step) + 1).cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(steps.next().unwrap_or(rest.len()).min(rest.len()));
        held.extend_from_slice(piece);
        rest = later;
        loop {
            match decoder.next(&held) {
                Ok(cut @ Cut::Message { .. }) => take(&mut held, &mut messages, cut),
                Ok(Cut::More { at_least }) => {
                    assert!(at_least > held.len());
                    break;
                }
                Err(error) => return Pieces { messages, end: Err(error) },
            }
        }
    }
    let end = decoder
        .finish(&held)
        .map(|last| last.into_iter().for_each(|cut| take(&mut held, &mut messages, cut)));
    Pieces { messages, end }
}

/// Takes a message off what is held.
fn take(held: &mut Vec<u8>, messages: &mut Vec<Vec<u8>>, cut: Cut) {
    if let Cut::Message { body, end, .. } = cut {
        assert!(body.end <= end && end > 0);
        messages.push(held[body].to_vec());
        held.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    type Target = fn(&[u8]);

    /// What a fuzzer calls, by the name of its folder.
    const TARGETS: [(&str, Target); 6] = [
        ("memory", memory),
        ("line", line),
        ("length", length),
        ("raw", raw),
        ("proxy", proxy),
        ("hello", hello),
    ];

    #[test]
    fn what_fuzzers_have_found_worth_keeping_is_read_to_its_end() {
        let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        // That of the control socket is the program's.
        assert_eq!(fs::read_dir(corpora).unwrap().count(), TARGETS.len() + 1, "each folder has its target");
        for (name, target) in TARGETS {
            let files = fs::read_dir(format!("{corpora}/{name}")).unwrap();
            let inputs: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
            assert!(!inputs.is_empty(), "{name}");
            for input in inputs {
                target(&input);
            }
        }
    }
}
