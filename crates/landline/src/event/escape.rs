//! Bytes from elsewhere, made harmless to show.

use std::fmt::Write;

/// What may go out unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// Printable ASCII: for files, pipes and terminals without UTF-8.
    #[default]
    Ascii,
    /// Printable UTF-8: for terminals that show it.
    Utf8,
}

impl Charset {
    /// Whether a character may be shown as it is: it is printable, within the set, and does nothing to a
    /// terminal or to the order of what stands around it.
    pub fn shows(self, letter: char) -> bool {
        match letter {
            ' '..='~' => true,
            '\0'..='\u{9f}' => false,
            _ => self == Charset::Utf8 && !steers(letter),
        }
    }

    /// The dot that separates the parts of a line.
    pub(crate) fn dot(self) -> char {
        match self {
            Charset::Ascii => '-',
            Charset::Utf8 => '\u{b7}',
        }
    }
}

/// Text that is safe to show on one line: control characters (C0, DEL, C1), characters that change the
/// direction of writing, line and paragraph separators and what is not UTF-8 are escaped, and so are
/// backslashes, so that nothing looks like an escape that is none.
pub fn escape(bytes: &[u8], charset: Charset) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            escape_letter(letter, charset, &mut line);
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
    line
}

fn escape_letter(letter: char, charset: Charset, line: &mut String) {
    // Writing to a string can't fail.
    let _ = match letter {
        '\n' => write!(line, "\\n"),
        '\r' => write!(line, "\\r"),
        '\t' => write!(line, "\\t"),
        '\\' => write!(line, "\\\\"),
        _ if charset.shows(letter) => write!(line, "{letter}"),
        '\0'..='\x7f' => write!(line, "\\x{:02x}", u32::from(letter)),
        _ => write!(line, "\\u{{{:x}}}", u32::from(letter)),
    };
}

/// Whether a character changes the direction or the line in which others are shown. (Joiners, which many
/// scripts are written with, stay.)
fn steers(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_are_escaped_and_printable_text_stays() {
        let text = "你好 \x00\x1b[2J\x07\u{9b}31m\u{202e}\\\n".as_bytes();
        let shown = escape(text, Charset::Utf8);
        assert_eq!(shown, r"你好 \x00\x1b[2J\x07\u{9b}31m\u{202e}\\\n");
        assert_eq!(escape("é\u{fffd}".as_bytes(), Charset::Ascii), r"\u{e9}\u{fffd}");
        assert_eq!(escape(b"\xff\xfeab", Charset::Utf8), r"\xff\xfeab");
    }

    proptest! {
        #[test]
        fn nothing_that_is_escaped_holds_a_control_character(bytes: Vec<u8>) {
            prop_assert!(!escape(&bytes, Charset::Utf8).chars().any(char::is_control));
            prop_assert!(escape(&bytes, Charset::Ascii).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
