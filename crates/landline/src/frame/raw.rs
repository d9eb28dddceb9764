//! `raw`: a message is what one read brought.

use super::{Cut, Ending};

pub(super) fn next(input: &[u8]) -> Cut {
    match input.len() {
        0 => Cut::More { at_least: 1 },
        len => Cut::Message { body: 0..len, end: len, ending: Ending::None },
    }
}
