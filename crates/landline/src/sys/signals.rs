//! Which signals this process was told to ignore by whoever started it, and waiting for others.

#![allow(unsafe_code, reason = "what no library has a safe name for")]

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

#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) use waiting::{Set, report_children};

/// Signals that are waited for.
#[cfg(all(feature = "takeover", target_os = "linux"))]
mod waiting {
    use std::time::Duration;
    use std::{mem, ptr};

    /// Some signals.
    #[derive(Clone, Copy)]
    pub(crate) struct Set(libc::sigset_t);

    impl Set {
        pub(crate) fn of(signals: impl IntoIterator<Item = i32>) -> Self {
            // SAFETY: a set of signals is plain bits, and is emptied before it is used.
            let mut set = unsafe { mem::zeroed() };
            // SAFETY: it is given a set to write to.
            unsafe { libc::sigemptyset(&raw mut set) };
            for signal in signals {
                // SAFETY: as above; what is no signal is refused.
                unsafe { libc::sigaddset(&raw mut set, signal) };
            }
            Self(set)
        }

        /// Has them wait instead of doing what they would, for this thread and those it starts.
        pub(crate) fn block(&self) {
            self.change(libc::SIG_BLOCK);
        }

        /// Has them do to this thread what they would again.
        pub(crate) fn unblock(&self) {
            self.change(libc::SIG_UNBLOCK);
        }

        fn change(&self, how: libc::c_int) {
            // SAFETY: it reads a set, and is told to write nowhere. It fails only for a `how` that is none.
            unsafe { libc::pthread_sigmask(how, &raw const self.0, ptr::null_mut()) };
        }

        /// Waits for one of them, which have to be blocked; for as long as it takes, or none after
        /// `patience`.
        pub(crate) fn wait(&self, patience: Option<Duration>) -> Option<i32> {
            let Some(patience) = patience else {
                loop {
                    let mut signal = 0;
                    // SAFETY: it reads a set and writes a number.
                    if unsafe { libc::sigwait(&raw const self.0, &raw mut signal) } == 0 {
                        return Some(signal);
                    }
                }
            };
            // SAFETY: plain integers, for which zero is a value.
            let mut time: libc::timespec = unsafe { mem::zeroed() };
            time.tv_sec = patience.as_secs().try_into().unwrap_or(libc::time_t::MAX);
            time.tv_nsec = patience.subsec_nanos().into();
            // SAFETY: it reads a set and a time, and is told to write nowhere.
            let signal = unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const time) };
            (signal > 0).then_some(signal)
        }
    }

    /// Has the kernel say when a child has ended, whatever this process was told to ignore at its start.
    pub(crate) fn report_children() {
        // SAFETY: it sets what a signal does that this process has no handler for, to what it does by
        // default.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
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
