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
pub(crate) use waiting::{Set, Told, pass_on, passed_on, report_children};

/// Signals that are waited for.
#[cfg(all(feature = "takeover", target_os = "linux"))]
mod waiting {
    use std::time::Duration;
    use std::{mem, ptr};

    use rustix::process::Pid;

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
            self.wait_and_ask(patience).map(|told| told.signal)
        }

        /// The same, and where it comes from. One that was passed on has to be [among them](passed_on).
        pub(crate) fn wait_and_ask(&self, patience: Option<Duration>) -> Option<Told> {
            // SAFETY: plain integers, for which zero is a value.
            let mut told: libc::siginfo_t = unsafe { mem::zeroed() };
            let Some(patience) = patience else {
                loop {
                    // SAFETY: it reads a set and writes what it tells.
                    let signal = unsafe { libc::sigwaitinfo(&raw const self.0, &raw mut told) };
                    if signal > 0 {
                        return Some(Told::new(signal, &told));
                    }
                }
            };
            // SAFETY: as above.
            let mut time: libc::timespec = unsafe { mem::zeroed() };
            time.tv_sec = patience.as_secs().try_into().unwrap_or(libc::time_t::MAX);
            time.tv_nsec = patience.subsec_nanos().into();
            // SAFETY: it reads a set and a time, and writes what it tells.
            let signal = unsafe { libc::sigtimedwait(&raw const self.0, &raw mut told, &raw const time) };
            (signal > 0).then(|| Told::new(signal, &told))
        }
    }

    /// A signal that came.
    pub(crate) struct Told {
        pub(crate) signal: i32,
        /// The process that has sent it; 0 for the kernel.
        pub(crate) sender: i32,
        pub(crate) is_passed_on: bool,
    }

    impl Told {
        fn new(signal: i32, told: &libc::siginfo_t) -> Self {
            // SAFETY: whatever told it, there are bytes at this place, and any are a number.
            let sender = unsafe { told.si_pid() };
            let is_passed_on = signal == passed_on() && told.si_code == libc::SI_QUEUE;
            // SAFETY: as above; and what was queued came with a number.
            let within = unsafe { told.si_value() }.sival_ptr as usize;
            let signal = if is_passed_on { i32::try_from(within).unwrap_or(0) } else { signal };
            Self { signal, sender, is_passed_on }
        }
    }

    /// The signal by which others are passed on: several wait in a queue, where two that are the same and
    /// come from different senders would become one.
    pub(crate) fn passed_on() -> i32 {
        libc::SIGRTMIN()
    }

    /// Passes a signal on to another process.
    pub(crate) fn pass_on(process: Pid, signal: i32) {
        let value = libc::sigval { sival_ptr: usize::try_from(signal).unwrap_or(0) as *mut libc::c_void };
        // SAFETY: it takes numbers only. If that process has ended, there is nobody to tell.
        unsafe { libc::sigqueue(process.as_raw_nonzero().get(), passed_on(), value) };
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
