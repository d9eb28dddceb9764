//! ASCII letters in upper case, with the widest instructions that the processor has.

#![allow(unsafe_code, reason = "a processor's instructions are asked for before they are used")]

/// Copies `from` in upper case into `to`, which is as long.
pub(crate) fn upper(from: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has these instructions.
        return unsafe { upper_avx2(from, to) };
    }
    copy(from, to);
}

/// The same loop, made of other instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn upper_avx2(from: &[u8], to: &mut [u8]) {
    copy(from, to);
}

/// Copied and changed in one pass; the compiler makes vector instructions of it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is to become part of functions with other instructions")]
fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.to_ascii_uppercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_letters_of_any_number_are_changed_and_nothing_else_is() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for len in 0..bytes.len() {
            let mut changed = vec![0; len];
            upper(&bytes[..len], &mut changed);
            assert_eq!(changed, bytes[..len].to_ascii_uppercase());
        }
    }
}
