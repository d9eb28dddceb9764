//! What is sent: a message from a template, the content of a file, or letters of a wanted size.

use std::io::Write;

use fastrand::Rng;
use landline::frame::Framing;

use crate::escape;
use crate::units;

/// The longest message: each connection holds as many as it has under way.
const PAYLOAD_MAX: usize = 64 << 20;

/// How many letters hold any number of 64 bits, when there are 26 of them.
const NUMBER_LETTERS: usize = 14;

/// What is sent, compiled once; each message is a function of its connection and its number on it. So the
/// same request can be rendered again to compare its reply with, and two runs send the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The same in every message.
    Bytes(Vec<u8>),
    /// The number of the connection.
    Connection,
    /// The number of the message on its connection.
    Number,
    /// So many lower-case letters and digits.
    Random(usize),
    /// So many letters that differ from message to message.
    Letters(usize),
}

impl Payload {
    /// `--message`: text with escapes (`\n \r \t \xHH \\`) and fields (`{conn} {n} {random:64}`); `{{` and
    /// `}}` are braces.
    pub(crate) fn message(template: &str, framing: Framing) -> Result<Self, String> {
        Self::checked(compile(template)?, framing)
    }

    /// `--file`: these bytes as they are.
    pub(crate) fn file(content: Vec<u8>, framing: Framing) -> Result<Self, String> {
        Self::checked(vec![Part::Bytes(content)], framing)
    }

    /// `--size`: letters in which connection and number are written, over and over, so that a reply that was
    /// meant for another message is noticed. Fewer than 28 letters begin to repeat after 26 to the power of
    /// half their number.
    pub(crate) fn size(bytes: usize, framing: Framing) -> Result<Self, String> {
        Self::checked(vec![Part::Letters(bytes)], framing)
    }

    /// Appends message `n` of connection `conn`, without its framing.
    pub(crate) fn render(&self, conn: u64, n: u64, out: &mut Vec<u8>) {
        for (place, part) in (0..).zip(&self.parts) {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Connection => decimal(conn, out),
                Part::Number => decimal(n, out),
                Part::Random(length) => random(seed(conn, n, place), *length, out),
                Part::Letters(length) => letters(conn, n, *length, out),
            }
        }
    }

    fn checked(parts: Vec<Part>, framing: Framing) -> Result<Self, String> {
        const TOO_LONG: &str = "a message is at most 64MiB";
        let length = parts.iter().map(Part::len_max).try_fold(0, usize::checked_add);
        let bytes = || parts.iter().filter_map(Part::bytes);
        let last = parts.last().and_then(Part::bytes).unwrap_or_default();
        match length {
            None => Err(TOO_LONG.to_owned()),
            Some(length) if length > PAYLOAD_MAX => Err(TOO_LONG.to_owned()),
            Some(0) if framing == Framing::Raw => {
                Err("an empty message is nothing to send, unless the framing is line or length".to_owned())
            }
            _ if framing == Framing::Line && bytes().any(|bytes| bytes.contains(&b'\n')) => {
                Err("with the line framing a message has no newline in it; the framing adds it".to_owned())
            }
            // The server would take it for a part of the ending.
            _ if framing == Framing::Line && last.ends_with(b"\r") => {
                Err("with the line framing a message can't end in a carriage return".to_owned())
            }
            _ => Ok(Self { parts }),
        }
    }
}

impl Part {
    fn len_max(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Connection | Part::Number => 20,
            Part::Random(length) | Part::Letters(length) => *length,
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Part::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn compile(template: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut fixed) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(letter) = template[at..].chars().next() {
        at += match letter {
            '\\' => {
                let (byte, length) = escape::read(template, at)?;
                fixed.push(byte);
                length
            }
            '{' | '}' if template[at + 1..].starts_with(letter) => {
                fixed.extend_from_slice(&template.as_bytes()[at..=at]);
                2
            }
            '{' => {
                let (part, length) = field(template, at)?;
                if !fixed.is_empty() {
                    parts.push(Part::Bytes(std::mem::take(&mut fixed)));
                }
                parts.push(part);
                length
            }
            '}' => return Err(escape::wrong(template, at, "no field ends here; a brace is written '}}'")),
            _ => {
                let length = letter.len_utf8();
                fixed.extend_from_slice(&template.as_bytes()[at..at + length]);
                length
            }
        };
    }
    if !fixed.is_empty() {
        parts.push(Part::Bytes(fixed));
    }
    Ok(parts)
}

/// The field that begins at `at`, and how long it is in the template.
fn field(template: &str, at: usize) -> Result<(Part, usize), String> {
    const FORMS: &str = "a field is one of {conn}, {n} and {random:64}; a brace is written '{{'";
    let wrong = |expected: &str| escape::wrong(template, at, expected);
    let (name, _) = template[at + 1..].split_once('}').ok_or_else(|| wrong(FORMS))?;
    let part = match name.split_once(':') {
        None if name == "conn" => Part::Connection,
        None if name == "n" => Part::Number,
        Some(("random", length)) => {
            Part::Random(units::size(length).map_err(|cause| wrong(&format!("in {{random:…}}, {cause}")))?)
        }
        _ => return Err(wrong(FORMS)),
    };
    Ok((part, name.len() + 2))
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{number}");
}

fn random(seed: u64, length: usize, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = Rng::with_seed(seed);
    out.extend((0..length).map(|_| LETTERS[random.usize(..LETTERS.len())]));
}

/// A seed of its own for each place of each message: the factors are odd and large, so neighbours lie far
/// apart.
fn seed(conn: u64, n: u64, place: u64) -> u64 {
    conn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ n.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(21)
        ^ place.wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(42)
}

fn letters(conn: u64, n: u64, length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let for_conn = (length / 2).min(NUMBER_LETTERS);
    let for_number = (length - for_conn).min(NUMBER_LETTERS);
    // A single letter has to do for both.
    let n = if for_conn == 0 { n.wrapping_add(conn) } else { n };
    out.resize(start + for_conn + for_number, 0);
    let (conn_letters, number_letters) = out[start..].split_at_mut(for_conn);
    write_letters(conn, conn_letters);
    write_letters(n, number_letters);
    while out.len() - start < length {
        let have = out.len() - start;
        out.extend_from_within(start..start + have.min(length - have));
    }
}

/// As many of the last digits of a number as there is room for, in base 26.
fn write_letters(mut number: u64, room: &mut [u8]) {
    for place in room.iter_mut().rev() {
        *place = b"abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 26).unwrap_or_default()];
        number /= 26;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    fn message(template: &str) -> Result<Payload, String> {
        Payload::message(template, Framing::Raw)
    }

    fn rendered(payload: &Payload, conn: u64, n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        payload.render(conn, n, &mut out);
        out
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_typed_as_a_message(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let template = escape::typed(&bytes).replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(rendered(&message(&template).unwrap(), 1, 2), bytes);
        }

        #[test]
        fn no_template_makes_it_panic(template: String) {
            if let Ok(payload) = message(&template) {
                rendered(&payload, u64::MAX, u64::MAX);
            }
        }

        #[test]
        fn letters_have_the_wanted_size_and_are_appended(size in 1_usize..300, conn: u64, n: u64) {
            let payload = Payload::size(size, Framing::Line).unwrap();
            let mut out = b"before".to_vec();
            payload.render(conn, n, &mut out);
            prop_assert_eq!(out.len(), 6 + size);
            prop_assert!(out.starts_with(b"before") && out.iter().all(u8::is_ascii_lowercase));
        }
    }

    #[test]
    fn fields_are_filled_in_and_double_braces_are_braces() {
        let payload = message(r"GET /{conn}/{n} {{{n}}}\r\n\x00").unwrap();
        assert_eq!(rendered(&payload, 7, 12), b"GET /7/12 {12}\r\n\0");
    }

    #[test]
    fn random_letters_differ_between_messages_and_are_the_same_for_the_same_message() {
        let payload = message("{random:64}{random:64}").unwrap();
        let (one, other) = (rendered(&payload, 1, 1), rendered(&payload, 1, 2));
        assert_eq!((one.len(), rendered(&payload, 1, 1)), (128, one.clone()));
        assert!(one.iter().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()));
        assert_ne!(one[..64], one[64..]);
        assert_ne!(one, other);
        assert_ne!(one, rendered(&payload, 2, 1));
    }

    #[test]
    fn letters_differ_for_every_message_as_far_as_their_number_allows() {
        let (payload, small) = (Payload::size(64, Framing::Raw), Payload::size(2, Framing::Raw));
        let all = |payload: &Payload, conns: u64, messages: u64| -> HashSet<Vec<u8>> {
            let each = (0..conns).flat_map(|conn| (0..messages).map(move |n| (conn, n)));
            each.map(|(conn, n)| rendered(payload, conn, n)).collect()
        };
        assert_eq!(all(&payload.unwrap(), 50, 200).len(), 10_000);
        assert_eq!(all(&small.unwrap(), 26, 26).len(), 676);
        assert_eq!(all(&Payload::size(1, Framing::Raw).unwrap(), 1, 26).len(), 26);
    }

    #[test]
    fn a_message_renders_without_allocating_once_there_is_room() {
        let payload = message("{conn} {n} {random:100}").unwrap();
        let mut out = Vec::with_capacity(200);
        let room = out.as_ptr();
        for n in 0..100 {
            out.clear();
            payload.render(n, n, &mut out);
        }
        assert_eq!((out.capacity(), out.as_ptr()), (200, room));
    }

    #[test]
    fn what_is_wrong_with_a_template_is_named_with_its_place() {
        for (template, place, expected) in [
            (r"a\q", 2, "an escape is one of"),
            ("ab{c}", 3, "a field is one of"),
            ("{n", 1, "a field is one of"),
            ("x}", 2, "a brace is written '}}'"),
            ("{random:}", 1, "in {random:…}, a size is bytes"),
            ("{random:0}", 1, "zero makes no sense"),
        ] {
            let error = message(template).unwrap_err();
            assert!(error.starts_with(&format!("at character {place}: ")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_payload_that_its_framing_cannot_carry_is_refused() {
        let line = |template: &str| Payload::message(template, Framing::Line);
        assert!(line(r"a\nb").unwrap_err().contains("no newline"));
        assert!(line(r"a\r").unwrap_err().contains("carriage return"));
        assert!(line(r"a\r{n}").is_ok() && line("").is_ok());
        assert!(Payload::file(b"a\n".to_vec(), Framing::Line).is_err());
        assert_eq!(rendered(&Payload::file(b"a{n}\\n".to_vec(), Framing::Line).unwrap(), 1, 1), b"a{n}\\n");
        assert!(message("").unwrap_err().contains("nothing to send"));
        assert!(message("{random:65MiB}").unwrap_err().contains("at most 64MiB"));
        assert!(Payload::size(usize::MAX, Framing::Raw).is_err());
    }
}
