//! Watching a connection: everything that happens on it passes by those who watch, in the order in which it
//! happens.

mod hex;
mod save;
mod times;
mod trace;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use landline::client::{Connector, Step, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::hex::HexDump;
use self::save::Save;
use self::times::Clock;
pub(super) use self::times::{Shared, Times};
use self::trace::Trace;
use super::args::WatchArgs;
use crate::exit::Failure;

/// What was seen.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// On the way to the server.
    Step(&'a Step<'a>),
    Sent(&'a [u8]),
    Received(&'a [u8]),
    /// Our side has ended.
    Finished,
    /// The server's side has ended.
    Ended,
    Failed(&'a io::Error),
    /// The connection is given up now.
    Closing,
}

/// Someone who watches.
pub(super) trait Watcher: Send {
    /// `at` counts from the start of the program; `stream` is the connection, once there is one.
    fn see(&mut self, at: Duration, seen: &Seen<'_>, stream: Option<&Stream>);

    /// There is nothing more to see.
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Where what watchers say goes.
type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Says lines on stderr, or wherever else it was told to: at a prompt, only one may write to the terminal.
#[derive(Clone, Default)]
pub(super) struct Speaker(Arc<OnceLock<Say>>);

impl Speaker {
    fn say(&self, line: &str) {
        match self.0.get() {
            Some(say) => say(line),
            // With stderr gone there is nobody to tell.
            None => drop(io::Write::write_all(&mut anstream::stderr(), format!("{line}\n").as_bytes())),
        }
    }
}

/// All who watch.
#[derive(Clone)]
pub(super) struct Watch {
    begun: Instant,
    watchers: Arc<Mutex<Vec<Box<dyn Watcher>>>>,
    speaker: Speaker,
}

impl Watch {
    /// Those who were asked for.
    pub(super) fn new(args: &WatchArgs) -> Result<Self, Failure> {
        let speaker = Speaker::default();
        let mut watchers: Vec<Box<dyn Watcher>> = Vec::new();
        if let Some(path) = &args.output {
            watchers.push(Box::new(Save::open(path)?));
        }
        if args.trace {
            watchers.push(Box::new(Trace::new(speaker.clone())));
        }
        if args.hex_dump {
            watchers.push(Box::new(HexDump::new(speaker.clone())));
        }
        Ok(Self { begun: Instant::now(), watchers: Arc::new(Mutex::new(watchers)), speaker })
    }

    /// Times of what is seen from now on.
    pub(super) fn times(&self) -> Shared {
        let times = Shared::default();
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(Clock(times.clone())));
        times
    }

    /// Says a line where watchers say theirs.
    pub(super) fn say(&self, line: &str) {
        self.speaker.say(line);
    }

    /// Has watchers speak in this way from now on.
    pub(super) fn speak(&self, say: impl Fn(&str) + Send + Sync + 'static) {
        // There is one prompt, and it says so once.
        let _ = self.speaker.0.set(Box::new(say));
    }

    /// Watches the way to the server.
    pub(super) fn way_of(&self, connector: Connector) -> Connector {
        let watch = self.clone();
        connector.observe(move |step| watch.tell(&Seen::Step(step), None))
    }

    /// Watches what passes through a stream; unwatched, it stays as it is.
    pub(super) fn over(&self, stream: Stream) -> Stream {
        if self.is_nobody() { stream } else { Stream::from_io(Tap { stream, watch: self.clone() }) }
    }

    /// What went wrong with watching.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.iter_mut().try_for_each(|watcher| watcher.finish())
    }

    fn is_nobody(&self) -> bool {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn tell(&self, seen: &Seen<'_>, stream: Option<&Stream>) {
        let at = self.begun.elapsed();
        for watcher in self.watchers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            watcher.see(at, seen, stream);
        }
    }
}

/// A stream, watched.
struct Tap {
    stream: Stream,
    watch: Watch,
}

impl Tap {
    fn tell(&self, seen: &Seen<'_>) {
        self.watch.tell(seen, Some(&self.stream));
    }

    fn telling_failure<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.inspect_err(|error| self.tell(&Seen::Failed(error)))
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        this.telling_failure(read)?;
        match &buf.filled()[before..] {
            [] => this.tell(&Seen::Ended),
            bytes => this.tell(&Seen::Received(bytes)),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes));
        let count = this.telling_failure(written)?;
        this.tell(&Seen::Sent(&bytes[..count]));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(cx));
        Poll::Ready(this.telling_failure(flushed))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = ready!(Pin::new(&mut this.stream).poll_shutdown(cx));
        this.telling_failure(ended)?;
        this.tell(&Seen::Finished);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.tell(&Seen::Closing);
    }
}
