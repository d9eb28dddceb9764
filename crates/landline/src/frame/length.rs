//! `length`: a 32-bit big-endian length, then that many bytes.

use super::{Cut, Ending, FrameError};

/// How long the prefix is, in bytes.
pub(super) const PREFIX: usize = size_of::<u32>();

pub(super) fn next(input: &[u8], max_message: usize) -> Result<Cut, FrameError> {
    let Some(prefix) = input.first_chunk::<PREFIX>() else {
        return Ok(Cut::More { at_least: PREFIX });
    };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > max_message {
        return Err(FrameError::TooLong { limit: max_message });
    }
    let end = PREFIX + len;
    if input.len() < end {
        return Ok(Cut::More { at_least: end });
    }
    Ok(Cut::Message { body: PREFIX..end, end, ending: Ending::None })
}

/// Writes the length of what follows the prefix into the prefix.
pub(super) fn seal(message: &mut [u8]) -> Result<(), FrameError> {
    let too_long = FrameError::TooLong { limit: u32::MAX as usize };
    let len = u32::try_from(message.len() - PREFIX).map_err(|_| too_long)?;
    message[..PREFIX].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_over_the_limit_is_refused_before_a_byte_of_the_message_came() {
        assert_eq!(next(&[0xff; 4], 1 << 20), Err(FrameError::TooLong { limit: 1 << 20 }));
        assert_eq!(next(&[0, 0, 0, 3, 1], 3).unwrap(), Cut::More { at_least: 7 });
        assert_eq!(next(&[0, 0], 3).unwrap(), Cut::More { at_least: 4 });
    }
}
