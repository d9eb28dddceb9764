//! `-x`: every byte that passes, as hexadecimal numbers and as text.

use std::fmt::Write;
use std::time::Duration;

use landline::client::Stream;

use super::{Seen, Speaker, Watcher};

/// How many bytes stand on one line.
const LINE_LEN: usize = 16;

pub(super) struct HexDump {
    speaker: Speaker,
    /// How many bytes went each way before.
    sent: u64,
    received: u64,
}

impl HexDump {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self { speaker, sent: 0, received: 0 }
    }
}

impl Watcher for HexDump {
    fn see(&mut self, at: Duration, seen: &Seen<'_>, _stream: Option<&Stream>) {
        let (sign, bytes, passed) = match seen {
            Seen::Sent(bytes) => ('>', bytes, &mut self.sent),
            Seen::Received(bytes) => ('<', bytes, &mut self.received),
            _ => return,
        };
        self.speaker.say(&dump(sign, at, *passed, bytes));
        *passed += bytes.len() as u64;
    }
}

/// A line that says which way, when and how much, and then the bytes; `passed` went that way before.
fn dump(sign: char, at: Duration, passed: u64, bytes: &[u8]) -> String {
    let mut text = format!("{sign} {:.1}ms {} B", at.as_secs_f64() * 1e3, bytes.len());
    for (offset, line) in (passed..).step_by(LINE_LEN).zip(bytes.chunks(LINE_LEN)) {
        // Writing to a string can't fail.
        let _ = write!(text, "\n{sign} {offset:08x} ");
        for at in 0..LINE_LEN {
            let gap = if at % 8 == 0 { " " } else { "" };
            let _ = match line.get(at) {
                Some(byte) => write!(text, "{gap}{byte:02x} "),
                None => write!(text, "{gap}   "),
            };
        }
        text.push_str(" |");
        text.extend(
            line.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }),
        );
        text.push('|');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_sixteen_on_a_line_behind_where_they_are_in_the_stream() {
        let bytes: Vec<u8> = (b'a'..=b'q').chain([0, 0x1b, 0xff]).collect();
        assert_eq!(
            dump('<', Duration::from_micros(1234), 0x20, &bytes),
            "< 1.2ms 20 B\n\
             < 00000020  61 62 63 64 65 66 67 68  69 6a 6b 6c 6d 6e 6f 70  |abcdefghijklmnop|\n\
             < 00000030  71 00 1b ff                                       |q...|"
        );
    }
}
