//! What a right reply is.

use std::fmt;
use std::str::FromStr;

use regex::bytes::Regex;

use crate::escape;

/// How many bytes are compared before a difference is looked for: whole blocks are compared many bytes at a
/// time.
const BLOCK: usize = 64;

/// What a right reply is. Threads that check replies by a regular expression should have a clone each: it
/// keeps memory to search with, which one thread at a time uses without waiting.
#[derive(Debug, Clone, Default)]
pub(crate) enum Expect {
    /// Any reply is right.
    #[default]
    Anything,
    /// The request in upper case, as far as it is ASCII.
    Upper,
    /// The request.
    Echo,
    /// As many bytes as the request has.
    SameLength,
    /// Something in the reply matches.
    Regex(Regex),
    /// Exactly these bytes.
    Bytes(Vec<u8>),
}

impl Expect {
    /// How long the reply to a request has to be, if that is known; without a framing, nothing else tells
    /// where a reply ends.
    pub(crate) fn reply_len(&self, request: &[u8]) -> Option<usize> {
        match self {
            Expect::Upper | Expect::Echo | Expect::SameLength => Some(request.len()),
            Expect::Bytes(bytes) => Some(bytes.len()),
            Expect::Anything | Expect::Regex(_) => None,
        }
    }

    /// Whether this is a right reply to this request; both without their framing.
    pub(crate) fn check(&self, request: &[u8], reply: &[u8]) -> bool {
        match self {
            Expect::Anything => true,
            Expect::Upper => is_upper(request, reply),
            Expect::Echo => request == reply,
            Expect::SameLength => request.len() == reply.len(),
            Expect::Regex(regex) => regex.is_match(reply),
            Expect::Bytes(bytes) => bytes == reply,
        }
    }
}

/// As it was said.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Anything => f.write_str("anything"),
            Expect::Upper => f.write_str("upper"),
            Expect::Echo => f.write_str("echo"),
            Expect::SameLength => f.write_str("same-length"),
            Expect::Regex(regex) => write!(f, "regex:{regex}"),
            Expect::Bytes(bytes) => write!(f, "bytes:{}", bytes.escape_ascii()),
        }
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str =
            "what is expected is one of upper, echo, same-length, regex:PATTERN and bytes:TEXT";
        match text {
            "upper" => Ok(Expect::Upper),
            "echo" => Ok(Expect::Echo),
            "same-length" => Ok(Expect::SameLength),
            _ => match text.split_once(':') {
                Some(("regex", pattern)) => Regex::new(pattern).map(Expect::Regex).map_err(|e| cause(&e)),
                Some(("bytes", bytes)) => escape::unescape(bytes).map(Expect::Bytes),
                _ => Err(FORMS.to_owned()),
            },
        }
    }
}

fn is_upper(request: &[u8], reply: &[u8]) -> bool {
    let mut blocks = request.chunks(BLOCK).zip(reply.chunks(BLOCK));
    request.len() == reply.len()
        && blocks.all(|(asked, said)| {
            let pairs = asked.iter().zip(said);
            pairs.fold(true, |same, (asked, said)| same & (asked.to_ascii_uppercase() == *said))
        })
}

/// The last line of a regex error says what is wrong; those before it draw the pattern.
fn cause(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("the pattern makes no sense: {}", last.strip_prefix("error: ").unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expect(text: &str) -> Expect {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn upper_is_what_the_standard_library_says_it_is(request: Vec<u8>, at: usize) {
            let mut reply = request.to_ascii_uppercase();
            prop_assert!(Expect::Upper.check(&request, &reply));
            if !reply.is_empty() {
                let at = at % reply.len();
                reply[at] ^= 0x80;
                prop_assert!(!Expect::Upper.check(&request, &reply));
                prop_assert!(!Expect::Upper.check(&request, &reply[1..]));
            }
        }
    }

    #[test]
    fn each_kind_tells_a_right_reply_from_a_wrong_one() {
        for (kind, right, wrong) in [
            ("upper", "ABC", "abc"),
            ("echo", "abc", "ABC"),
            ("same-length", "xyz", "xyzz"),
            ("regex:^a.c$", "abc", "ab"),
            (r"bytes:\x41\n", "A\n", "A"),
        ] {
            assert!(expect(kind).check(b"abc", right.as_bytes()), "{kind}");
            assert!(!expect(kind).check(b"abc", wrong.as_bytes()), "{kind}");
        }
        assert!(Expect::default().check(b"abc", b""));
        assert!(expect(r"regex:(?-u)\xff").check(b"", b"a\xff"));
    }

    #[test]
    fn the_length_of_a_reply_is_known_unless_anything_or_a_pattern_is_expected() {
        let len = |kind: &str| expect(kind).reply_len(b"abc");
        assert_eq!((len("upper"), len("echo"), len("same-length")), (Some(3), Some(3), Some(3)));
        assert_eq!(
            (len("bytes:pong"), len("regex:."), Expect::default().reply_len(b"abc")),
            (Some(4), None, None)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let error = |text: &str| text.parse::<Expect>().unwrap_err();
        assert!(error("lower").contains("one of upper, echo"));
        assert!(error("regex:(a").contains("unclosed group"), "{}", error("regex:(a"));
        assert!(error(r"bytes:a\q").contains("at character 2"));
    }
}
