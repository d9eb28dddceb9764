//! `line`: LF or CRLF ends a message.

use super::{Cut, Ending, FrameError};

/// Finds the first line. `scanned` bytes at the front are known to hold no LF.
pub(super) fn next(input: &[u8], scanned: usize, max_message: usize) -> Result<Cut, FrameError> {
    let too_long = FrameError::TooLong { limit: max_message };
    let Some(at) = memchr::memchr(b'\n', &input[scanned..]) else {
        // The last byte may be the CR of a CRLF and then does not count.
        let unended = input.len() - usize::from(input.last() == Some(&b'\r'));
        return if unended > max_message {
            Err(too_long)
        } else {
            Ok(Cut::More { at_least: input.len() + 1 })
        };
    };
    let lf = scanned + at;
    let (len, ending) =
        if lf > 0 && input[lf - 1] == b'\r' { (lf - 1, Ending::CrLf) } else { (lf, Ending::Lf) };
    if len > max_message { Err(too_long) } else { Ok(Cut::Message { body: 0..len, end: lf + 1, ending }) }
}

/// The last line of a stream that ended without an ending. A CR at its end, which could have been half of one,
/// is its last byte.
pub(super) fn remainder(input: &[u8], max_message: usize) -> Result<Cut, FrameError> {
    if input.len() > max_message {
        return Err(FrameError::TooLong { limit: max_message });
    }
    Ok(Cut::Message { body: 0..input.len(), end: input.len(), ending: Ending::None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize, end: usize, ending: Ending) -> Cut {
        Cut::Message { body: 0..len, end, ending }
    }

    #[test]
    fn lf_and_crlf_end_a_line_and_are_not_part_of_it() {
        assert_eq!(next(b"ab\ncd", 0, 9).unwrap(), message(2, 3, Ending::Lf));
        assert_eq!(next(b"ab\r\ncd", 0, 9).unwrap(), message(2, 4, Ending::CrLf));
        assert_eq!(next(b"\n", 0, 9).unwrap(), message(0, 1, Ending::Lf));
        assert_eq!(next(b"a\rb\n", 0, 9).unwrap(), message(3, 4, Ending::Lf));
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_with_either_ending_and_one_byte_more_does_not() {
        assert!(next(b"1234\n", 0, 4).is_ok());
        assert!(next(b"1234\r\n", 0, 4).is_ok());
        assert!(next(b"12345\n", 0, 4).is_err());
        assert_eq!(next(b"1234\r", 0, 4).unwrap(), Cut::More { at_least: 6 });
        assert!(next(b"12345", 0, 4).is_err(), "known before the ending comes");
        assert_eq!(remainder(b"123\r", 4).unwrap(), message(4, 4, Ending::None));
        assert!(remainder(b"1234\r", 4).is_err(), "the ending never came, so the CR counts");
    }
}
