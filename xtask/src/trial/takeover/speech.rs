//! What a caller says on one connection, and what has to come back. Pure.

use super::dice::Dice;

/// How many messages a connection has at most.
const MESSAGES: u64 = 8;
/// The shortest message, in bytes, and how often that is doubled at most: 64 KiB.
const SHORTEST: usize = 64;
const DOUBLED: u64 = 10;

/// Messages of different lengths, of which no two bytes' surroundings are alike.
#[derive(Debug, Default)]
pub(super) struct Speech {
    pub(super) text: Vec<u8>,
    pub(super) messages: u64,
}

impl Speech {
    /// Says something new; each message is a line where it has to be one.
    pub(super) fn renew(&mut self, dice: &mut Dice, in_lines: bool) {
        self.text.clear();
        self.messages = 1 + dice.below(MESSAGES);
        for _ in 0..self.messages {
            let end = self.text.len() + (SHORTEST << dice.below(DOUBLED + 1));
            while self.text.len() < end {
                self.text.extend(dice.roll().to_le_bytes().map(|byte| b'a' + byte % 26));
            }
            if in_lines {
                self.text[end - 1] = b'\n';
            }
        }
    }
}

/// What is wrong with what came, when so much of the answer had come before.
pub(super) fn check(asked: &[u8], heard: usize, came: &[u8]) -> Result<(), &'static str> {
    match asked.get(heard..heard + came.len()) {
        None => Err("extra_bytes"),
        Some(part) if part.iter().map(u8::to_ascii_uppercase).eq(came.iter().copied()) => Ok(()),
        Some(_) => Err("wrong_reply"),
    }
}

#[test]
fn messages_are_of_the_lengths_they_are_said_to_be_and_end_as_lines() {
    let mut speech = Speech::default();
    let mut dice = Dice::new();
    for _ in 0..50 {
        speech.renew(&mut dice, true);
        let lines: Vec<&[u8]> = speech.text.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len() as u64, speech.messages);
        assert!(
            lines.iter().all(|line| line.len().is_power_of_two() && (64..=64 << 10).contains(&line.len()))
        );
    }
}

#[test]
fn what_is_missing_wrong_or_too_much_is_noticed() {
    assert_eq!(check(b"abcd", 0, b"AB"), Ok(()));
    assert_eq!(check(b"abcd", 2, b"CD"), Ok(()));
    for came in ["BC", "cd", "D"] {
        assert_eq!(check(b"abcd", 2, came.as_bytes()), Err("wrong_reply"), "{came}");
    }
    assert_eq!(check(b"abcd", 2, b"CDE"), Err("extra_bytes"));
}
