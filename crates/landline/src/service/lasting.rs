//! Sessions that outlive the process: plain data, put down whenever messages were answered.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Service;
use crate::error::Outcome;
use crate::server::Peer;
use crate::service::Reply;

/// A service as [`session`](crate::session) makes it, whose sessions go on when the process that serves is
/// killed: each is plain data, which is put down in memory that outlives the process before the replies that
/// it has led to are sent.
///
/// A session of more than 64 KiB in the [format of postcard](https://postcard.jamesmunns.com) does not go on:
/// its connection ends when the process is killed. So does one that can't be read back, as
/// when another version of the program takes over that has other sessions.
///
/// ```
/// use std::io::Write;
/// use landline::{Peer, Reply, lasting_session};
///
/// let counter = lasting_session(
///     |_: &Peer, _: &mut Reply| Ok(0_u64),
///     async |count: &mut u64, _: &[u8], reply: &mut Reply| {
///         *count += 1;
///         write!(reply, "{count}")?;
///         Ok(())
///     },
/// );
/// # fn check(_: impl landline::Service) {}
/// # check(counter);
/// ```
pub fn lasting_session<T, O, F>(open: O, answer: F) -> impl Service<Session = T>
where
    T: Serialize + DeserializeOwned + 'static,
    O: Fn(&Peer, &mut Reply) -> Outcome<T> + Send + Sync + 'static,
    F: AsyncFn(&mut T, &[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    Lasting { open, answer, session: PhantomData::<fn() -> T> }
}

struct Lasting<T, O, F> {
    open: O,
    answer: F,
    session: PhantomData<fn() -> T>,
}

impl<T, O, F> Service for Lasting<T, O, F>
where
    T: Serialize + DeserializeOwned + 'static,
    O: Fn(&Peer, &mut Reply) -> Outcome<T> + Send + Sync + 'static,
    F: AsyncFn(&mut T, &[u8], &mut Reply) -> Outcome + Send + Sync + 'static,
{
    type Session = T;

    fn open(&self, peer: &Peer, reply: &mut Reply) -> Outcome<T> {
        (self.open)(peer, reply)
    }

    fn resume(&self, _: &Peer, saved: &[u8]) -> Option<T> {
        // The first byte says that there is a session, be it one without any bytes.
        let (_, saved) = saved.split_first()?;
        postcard::from_bytes(saved).ok()
    }

    fn save(&self, session: &T, saved: &mut Vec<u8>) {
        saved.push(1);
        if postcard::to_io(session, &mut *saved).is_err() {
            // None is better than half of one.
            saved.clear();
        }
    }

    fn answer(&self, session: &mut T, message: &[u8], reply: &mut Reply) -> impl Future<Output = Outcome> {
        (self.answer)(session, message, reply)
    }
}

impl<T, O, F> fmt::Debug for Lasting<T, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lasting_session(..)")
    }
}
