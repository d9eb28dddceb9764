//! What a server sends, made safe for a terminal.
//!
//! Control bytes can move the cursor, rename the window or type into the shell; what a person sees has to be
//! what was sent. Printable UTF-8 stays as it is.

use std::fmt::Write;

use landline::event::Charset;

/// Escapes a stream that comes in chunks: a character cut in two by them comes out whole.
#[derive(Debug)]
pub(super) struct Escaper {
    charset: Charset,
    /// Control bytes pass, as far as they are UTF-8.
    passes_controls: bool,
    /// The front of a character whose rest has not come, or a CR that may belong to a CRLF.
    held: Vec<u8>,
}

impl Escaper {
    /// For a terminal that shows these characters.
    pub(super) fn new(charset: Charset) -> Self {
        Self { charset, passes_controls: false, held: Vec::new() }
    }

    /// Lets control characters through: whoever asks for that trusts the server with the terminal.
    pub(super) fn passing_controls(mut self, passes: bool) -> Self {
        self.passes_controls = passes;
        self
    }

    /// Appends to `out` what can be shown of the stream so far.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            &joined[..]
        };
        let complete = bytes.len() - unfinished(bytes);
        self.held.extend_from_slice(&bytes[complete..]);
        self.escape(&bytes[..complete], out);
    }

    /// Appends what was held back: nothing will complete it any more.
    pub(super) fn finish(&mut self, out: &mut String) {
        let held = std::mem::take(&mut self.held);
        self.escape(&held, out);
    }

    fn escape(&self, bytes: &[u8], out: &mut String) {
        for chunk in bytes.utf8_chunks() {
            if self.passes_controls {
                out.push_str(chunk.valid());
            }
            let left = if self.passes_controls { "" } else { chunk.valid() };
            let mut chars = left.chars().peekable();
            while let Some(char) = chars.next() {
                if char != '\r' || chars.peek() != Some(&'\n') {
                    self.escape_char(char, out);
                }
            }
            for byte in chunk.invalid() {
                push_hex(*byte, out);
            }
        }
    }

    fn escape_char(&self, char: char, out: &mut String) {
        match char {
            '\n' | '\t' => out.push(char),
            '\r' => out.push_str("\\r"),
            _ if self.charset.shows(char) => out.push(char),
            '\0'..='\x7f' => push_hex(char as u8, out),
            _ => out.extend(char.escape_unicode()),
        }
    }
}

/// How many bytes at the end may be completed by what follows.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    // A character has at most four bytes, so at most three can wait for the rest.
    (1..=tail.len())
        .find(|len| {
            let end = &tail[tail.len() - len..];
            std::str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

fn push_hex(byte: u8, out: &mut String) {
    // Writing to a string can't fail.
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(charset: Charset, chunks: &[&[u8]]) -> String {
        let mut escaper = Escaper::new(charset);
        let mut out = String::new();
        for chunk in chunks {
            escaper.push(chunk, &mut out);
        }
        escaper.finish(&mut out);
        out
    }

    #[test]
    fn text_stays_and_everything_that_could_steer_a_terminal_is_spelled_out() {
        for (bytes, shown) in [
            (&b"plain\ttext\n"[..], "plain\ttext\n"),
            ("你好 ÄÖ\n".as_bytes(), "你好 ÄÖ\n"),
            (b"\x1b[31mred\x07\x00\x7f", "\\x1b[31mred\\x07\\x00\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c".as_bytes(), "a\\u{202e}b\\u{2066}c"),
            (b"caf\xe9 \xff\xfe", "caf\\xe9 \\xff\\xfe"),
            (b"line\r\nover\rwritten\r", "line\nover\\rwritten\\r"),
        ] {
            assert_eq!(escaped(Charset::Utf8, &[bytes]), shown);
        }
    }

    #[test]
    fn whoever_wants_them_gets_control_characters_and_still_no_broken_ones() {
        let mut escaper = Escaper::new(Charset::Utf8).passing_controls(true);
        let mut out = String::new();
        escaper.push(b"\x1b[31mred\r\n\xff\xe2\x82", &mut out);
        escaper.finish(&mut out);
        assert_eq!(out, "\x1b[31mred\r\n\\xff\\xe2\\x82");
    }

    #[test]
    fn without_utf8_all_but_ascii_is_spelled_out() {
        assert_eq!(escaped(Charset::Ascii, &["né\n".as_bytes()]), "n\\u{e9}\n");
    }

    #[test]
    fn a_character_or_an_ending_that_is_cut_in_two_comes_out_whole() {
        let bytes = "a€😀\r\nb\n".as_bytes();
        for size in 1..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(escaped(Charset::Utf8, &chunks), "a€😀\nb\n", "in chunks of {size}");
        }
        assert_eq!(escaped(Charset::Utf8, &[b"\xe2\x82"]), "\\xe2\\x82", "the rest never came");
        assert_eq!(escaped(Charset::Utf8, &[b"\xe2\x82", b"x"]), "\\xe2\\x82x", "something else came");
    }
}
