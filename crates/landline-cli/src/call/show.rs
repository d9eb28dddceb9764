//! What a server sends, made safe for a terminal.
//!
//! Control bytes can move the cursor, rename the window or type into the shell; what a person sees has to be what
//! was sent. Printable UTF-8 stays as it is.

use std::fmt::Write;

/// Escapes a stream that comes in chunks: a character cut in two by them comes out whole.
#[derive(Debug)]
pub(super) struct Escaper {
    utf8: bool,
    /// The front of a character whose rest has not come, or a CR that may belong to a CRLF.
    held: Vec<u8>,
}

impl Escaper {
    /// `utf8` says whether the terminal shows more than ASCII.
    pub(super) fn new(utf8: bool) -> Self {
        Self { utf8, held: Vec::new() }
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
            let mut chars = chunk.valid().chars().peekable();
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
            '\0'..='\x1f' | '\x7f' => push_hex(char as u8, out),
            _ if char.is_control() || is_bidi_control(char) || !(self.utf8 || char.is_ascii()) => {
                out.extend(char.escape_unicode());
            }
            _ => out.push(char),
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

/// Characters that change the order in which others are shown, so that a line can read as what it is not.
fn is_bidi_control(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether the locale says that this terminal takes UTF-8.
pub(super) fn is_utf8_locale() -> bool {
    names_utf8(|name| std::env::var(name).ok())
}

fn names_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Our own words in ASCII, for a terminal that shows no more.
pub(super) fn to_ascii(text: &str) -> String {
    text.replace('·', "-").replace('↑', "Up:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(utf8: bool, chunks: &[&[u8]]) -> String {
        let mut escaper = Escaper::new(utf8);
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
            assert_eq!(escaped(true, &[bytes]), shown);
        }
    }

    #[test]
    fn without_utf8_all_but_ascii_is_spelled_out() {
        assert_eq!(escaped(false, &["né\n".as_bytes()]), "n\\u{e9}\n");
        assert_eq!(to_ascii("0.2ms · ↑ history"), "0.2ms - Up: history");
    }

    #[test]
    fn a_character_or_an_ending_that_is_cut_in_two_comes_out_whole() {
        let bytes = "a€😀\r\nb\n".as_bytes();
        for size in 1..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(escaped(true, &chunks), "a€😀\nb\n", "in chunks of {size}");
        }
        assert_eq!(escaped(true, &[b"\xe2\x82"]), "\\xe2\\x82", "the rest never came");
        assert_eq!(escaped(true, &[b"\xe2\x82", b"x"]), "\\xe2\\x82x", "something else came");
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let locale = |all: &'static str, ctype: &'static str, lang: &'static str| {
            names_utf8(move |name| {
                Some(
                    if name == "LC_ALL" {
                        all
                    } else if name == "LC_CTYPE" {
                        ctype
                    } else {
                        lang
                    }
                    .to_owned(),
                )
            })
        };
        assert!(locale("", "", "de_DE.UTF-8"));
        assert!(locale("C.utf8", "", "C"));
        assert!(!locale("C", "en_US.UTF-8", "en_US.UTF-8"));
        assert!(!names_utf8(|_| None));
    }
}
