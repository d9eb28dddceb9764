//! The work itself, for servers that have nothing else: what a read brought, in upper case. Pure.

use std::str::FromStr;

/// How much such a server reads at once, in bytes; landline does the same.
pub(crate) const READ: usize = 128 << 10;
/// How long an unfinished line may be, in bytes.
const REST_MAX: usize = READ;

/// What is one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What a read brought.
    Raw,
    /// A line.
    Line,
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "raw" => Ok(Self::Raw),
            "line" => Ok(Self::Line),
            _ => Err(format!("raw or line, not {word}")),
        }
    }
}

/// One connection's share of the work.
#[derive(Debug)]
pub(crate) struct Upper {
    cut: Cut,
    /// An unfinished line.
    rest: Vec<u8>,
}

/// Where answers are put: enough for a whole read behind the longest line.
pub(crate) fn output() -> Vec<u8> {
    vec![0; READ + REST_MAX]
}

impl Upper {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, rest: Vec::new() }
    }

    /// Answers what a read brought; how long the answers are, or nothing when a line is too long.
    pub(crate) fn answer(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        if self.cut == Cut::Raw {
            raise(input, output);
            return Some(input.len());
        }
        let (mut from, mut said) = (0, 0);
        while let Some(length) = memchr::memchr(b'\n', &input[from..]) {
            if !self.rest.is_empty() {
                raise(&self.rest, &mut output[said..]);
                said += self.rest.len();
                self.rest.clear();
            }
            // The answer is a line as well.
            raise(&input[from..from + length], &mut output[said..]);
            output[said + length] = b'\n';
            said += length + 1;
            from += length + 1;
        }
        if from < input.len() {
            self.rest.extend_from_slice(&input[from..]);
        }
        (self.rest.len() <= REST_MAX).then_some(said)
    }
}

fn raise(from: &[u8], to: &mut [u8]) {
    for (upper, byte) in to.iter_mut().zip(from) {
        *upper = byte.to_ascii_uppercase();
    }
}

#[test]
fn what_was_read_is_answered_whole_and_a_line_when_it_is_complete() {
    let mut room = output();
    let mut answers = |upper: &mut Upper, input: &str| {
        let said = upper.answer(input.as_bytes(), &mut room)?;
        Some(String::from_utf8_lossy(&room[..said]).into_owned())
    };
    assert_eq!(answers(&mut Upper::new(Cut::Raw), "one\ntw").as_deref(), Some("ONE\nTW"));
    let mut lines = Upper::new(Cut::Line);
    for (input, answer) in [("one\ntw", "ONE\n"), ("", ""), ("o", ""), ("\n\nx\n", "TWO\n\nX\n")] {
        assert_eq!(answers(&mut lines, input).as_deref(), Some(answer), "{input:?}");
    }
    assert_eq!(answers(&mut lines, &"x".repeat(READ)).as_deref(), Some(""));
    assert_eq!(answers(&mut lines, "x"), None);
}
