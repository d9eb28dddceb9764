//! Which signals this process was told to ignore by whoever started it.

/// Whether a signal is ignored, as `nohup` and a shell's background jobs arrange. It then stays so: that is
/// what they asked for.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let ignored = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| ignored_mask(&status));
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn ignored_mask(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read_from_what_the_kernel_prints() {
        assert_eq!(ignored_mask("SigBlk:\t0\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(ignored_mask("nothing of the kind"), None);
    }
}
