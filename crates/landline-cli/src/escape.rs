//! The escapes of `--message` and `--expect bytes:…`, and places in what was typed.

/// The bytes of a text with escapes: `\n`, `\r`, `\t`, `\0`, `\xHH` and `\\`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        if letter == '\\' {
            let (byte, length) = read(text, at)?;
            bytes.push(byte);
            at += length;
        } else {
            let end = at + letter.len_utf8();
            bytes.extend_from_slice(&text.as_bytes()[at..end]);
            at = end;
        }
    }
    Ok(bytes)
}

/// The byte that the escape at `at` stands for, and how long the escape is.
pub(crate) fn read(text: &str, at: usize) -> Result<(u8, usize), String> {
    const FORMS: &str = r"an escape is one of \n, \r, \t, \0, \xHH and \\";
    let mut letters = text[at..].chars().skip(1);
    match letters.next() {
        Some('n') => Ok((b'\n', 2)),
        Some('r') => Ok((b'\r', 2)),
        Some('t') => Ok((b'\t', 2)),
        Some('0') => Ok((0, 2)),
        Some('\\') => Ok((b'\\', 2)),
        Some('x') => {
            let digits = (letters.next().and_then(hex), letters.next().and_then(hex));
            let (Some(high), Some(low)) = digits else {
                return Err(wrong(text, at, r"two hexadecimal digits follow \x, as in \x0a"));
            };
            Ok((high << 4 | low, 4))
        }
        _ => Err(wrong(text, at, FORMS)),
    }
}

/// What is wrong, and at which character; the first is 1.
pub(crate) fn wrong(text: &str, at: usize, expected: &str) -> String {
    format!("at character {}: {expected}", text[..at].chars().count() + 1)
}

fn hex(digit: char) -> Option<u8> {
    digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Bytes as somebody could type them: the way back.
#[cfg(test)]
pub(crate) fn typed(bytes: &[u8]) -> String {
    let letter = |byte: &u8| match byte {
        b'\n' => r"\n".to_owned(),
        b'\r' => r"\r".to_owned(),
        b'\t' => r"\t".to_owned(),
        b'\\' => r"\\".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    };
    bytes.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_typed_with_escapes_is_read_as_the_same_bytes(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&typed(&bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = unescape(&text);
        }
    }

    #[test]
    fn text_beyond_ascii_stays_as_it_is() {
        assert_eq!(unescape(r"你\x00好").unwrap(), "你\0好".as_bytes());
    }

    #[test]
    fn a_wrong_escape_is_named_with_its_place() {
        assert_eq!(
            unescape(r"你\q").unwrap_err(),
            r"at character 2: an escape is one of \n, \r, \t, \0, \xHH and \\"
        );
        for (text, place) in [(r"ab\", 3), (r"\xg0", 1), (r"a\x1", 2), (r"\x1é", 1)] {
            assert!(unescape(text).unwrap_err().starts_with(&format!("at character {place}:")), "{text}");
        }
    }
}
