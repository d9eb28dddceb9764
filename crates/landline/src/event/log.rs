//! The log: one line per event, written by a thread of its own.
//!
//! Serving never waits for it. When whoever reads the log does not keep up, lines are dropped and counted.

mod line;
mod second;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use self::line::Line;
use self::second::Second;
use super::{Charset, Direction, Event, SocketStep, Subscriber};

/// How many lines may wait to be written; what comes beyond is dropped and counted.
const QUEUE: usize = 4096;
/// How much of one message is shown, in bytes.
const MESSAGE_SHOWN: usize = 1024;
/// How much is gathered before it is written although more is waiting, in bytes.
const GATHER: usize = 64 << 10;

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Words, for people.
    #[default]
    Text,
    /// One JSON object per line, for programs: `time`, `event`, and the fields of the event.
    Json,
}

/// How a line of text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTime {
    /// The local time of day: `12:00:01`.
    Clock,
    /// Date and time in UTC, as RFC 3339 has them. JSON always has this.
    #[default]
    Timestamp,
}

/// What a log contains and looks like. Default: events without messages, as ASCII text, with timestamps.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LogOptions {
    /// Words or JSON.
    pub format: LogFormat,
    /// Which characters a line of text may have; JSON is always ASCII.
    pub charset: Charset,
    /// How a line of text begins.
    pub time: LogTime,
    /// Whether each message is shown, escaped: `<` came in, `>` goes out.
    pub messages: bool,
    /// Whether each [step](SocketStep) of a socket is shown. Times are to the microsecond then, and no
    /// connections are summed up.
    pub steps: bool,
}

/// A subscriber that writes one line per event. When many connections come and go within one second, most are
/// summed up in one line at its end.
pub struct Log {
    queue: SyncSender<Record>,
    messages: bool,
    steps: bool,
    dropped: Arc<AtomicU64>,
}

enum Record {
    Event(Timestamp, Event),
    Step(Timestamp, SocketStep),
    Message(Timestamp, u64, Direction, Box<[u8]>, usize),
    Plain(String),
    Finish(SyncSender<()>),
}

impl Log {
    /// Starts a log that is written to `out`. What `out` refuses is counted as dropped.
    ///
    /// # Errors
    /// When its thread can't start.
    pub fn new(out: impl io::Write + Send + 'static, options: LogOptions) -> io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            out: Box::new(out),
            options,
            dropped: Arc::clone(&dropped),
            dropped_said: 0,
            gathered: Vec::new(),
            gathered_lines: 0,
            second: Second::default(),
        };
        thread::Builder::new().name("landline-log".into()).spawn(move || writer.run(&records))?;
        Ok(Self { queue, messages: options.messages, steps: options.steps, dropped })
    }

    /// Writes a line that is no event, as it is: without a time and not escaped.
    pub fn say(&self, line: impl Into<String>) {
        self.put(Record::Plain(line.into()));
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything so far is written, `patience` at most; false if it was not.
    pub fn finish(&self, patience: Duration) -> bool {
        let (done, finished) = sync_channel(1);
        match self.queue.try_send(Record::Finish(done)) {
            Ok(()) => {}
            Err(TrySendError::Full(finish)) => {
                let queue = self.queue.clone();
                // Elsewhere, since waiting for room in the queue has no limit on time.
                let waiting = thread::Builder::new().spawn(move || queue.send(finish));
                if waiting.is_err() {
                    return false;
                }
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
        finished.recv_timeout(patience).is_ok()
    }

    fn put(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Subscriber for Log {
    fn event(&self, event: &Event) {
        self.put(Record::Event(Timestamp::now(), event.clone()));
    }

    fn wants_messages(&self) -> bool {
        self.messages
    }

    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(MESSAGE_SHOWN)];
        self.put(Record::Message(Timestamp::now(), id, direction, shown.into(), bytes.len()));
    }

    fn wants_steps(&self) -> bool {
        self.steps
    }

    fn step(&self, step: &SocketStep) {
        self.put(Record::Step(Timestamp::now(), step.clone()));
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} lines dropped)", self.dropped())
    }
}

/// The thread that turns records into lines.
struct Writer {
    out: Box<dyn io::Write + Send>,
    options: LogOptions,
    dropped: Arc<AtomicU64>,
    dropped_said: u64,
    gathered: Vec<u8>,
    gathered_lines: u64,
    second: Second,
}

impl Writer {
    fn run(mut self, records: &Receiver<Record>) {
        loop {
            let record = records.try_recv().or_else(|_| {
                self.write_out();
                self.second.wait_for(records)
            });
            match record {
                Ok(Record::Finish(done)) => {
                    self.say_dropped();
                    self.sum_up();
                    self.write_out();
                    let _ = done.try_send(());
                }
                Ok(record) => self.record(record),
                Err(RecvTimeoutError::Timeout) => self.sum_up(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.gathered.len() >= GATHER {
                self.write_out();
            }
        }
        self.sum_up();
        self.write_out();
    }

    fn record(&mut self, record: Record) {
        self.say_dropped();
        match record {
            Record::Event(time, event) => {
                if self.second.is_over() {
                    self.sum_up();
                }
                if self.options.steps || self.second.shows(&event) {
                    self.line(time, &Line::Event(&event));
                }
            }
            Record::Message(time, id, direction, bytes, len) => {
                self.line(time, &Line::Message { id, direction, text: &bytes, len });
            }
            Record::Step(time, step) => self.line(time, &Line::Step(&step)),
            Record::Plain(line) => self.gather(&line),
            Record::Finish(_) => {}
        }
    }

    fn say_dropped(&mut self) {
        let dropped = self.dropped.load(Relaxed);
        if dropped > self.dropped_said {
            let count = dropped - std::mem::replace(&mut self.dropped_said, dropped);
            self.line(Timestamp::now(), &Line::Dropped { count });
        }
    }

    fn sum_up(&mut self) {
        if let Some(summary) = self.second.end() {
            self.line(Timestamp::now(), &summary);
        }
    }

    fn line(&mut self, time: Timestamp, line: &Line<'_>) {
        let line = line.written(time, self.options);
        self.gather(&line);
    }

    fn gather(&mut self, line: &str) {
        self.gathered.extend_from_slice(line.as_bytes());
        self.gathered.push(b'\n');
        self.gathered_lines += 1;
    }

    fn write_out(&mut self) {
        let lines = std::mem::take(&mut self.gathered_lines);
        if lines > 0 && self.out.write_all(&self.gathered).and_then(|()| self.out.flush()).is_err() {
            self.dropped.fetch_add(lines, Relaxed);
            // Nobody to tell: whoever refuses lines would refuse that one too.
            self.dropped_said += lines;
        }
        self.gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{PeerAddr, Refusal};
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(options: LogOptions, events: impl FnOnce(&Log)) -> String {
        let page = Page::default();
        let log = Log::new(page.clone(), options).unwrap();
        events(&log);
        assert!(log.finish(Duration::from_secs(10)));
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn connected(id: u64) -> Event {
        Event::Connected { id, peer: PeerAddr::Ip("127.0.0.1:53122".parse().unwrap()), via: None, open: 1 }
    }

    #[test]
    fn a_text_line_has_a_time_and_the_words_of_the_event() {
        let text = logged(LogOptions::default(), |log| log.event(&connected(1)));
        let (time, words) = text.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(words, "#1 127.0.0.1:53122 connected (1 open)\n");
    }

    #[test]
    fn a_json_line_has_a_time_a_name_and_the_fields_of_the_event() {
        let options = LogOptions { format: LogFormat::Json, messages: true, ..LogOptions::default() };
        let text = logged(options, |log| {
            log.event(&connected(7));
            log.message(7, Direction::In, "\x1b\u{202e}".as_bytes());
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["event"], "connected");
        assert_eq!((&lines[0]["id"], &lines[0]["peer"]), (&7.into(), &"127.0.0.1:53122".into()));
        assert!(lines[0]["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!((&lines[1]["direction"], &lines[1]["text"]), (&"in".into(), &r"\x1b\u{202e}".into()));
    }

    #[test]
    fn many_connections_in_one_second_are_summed_up_in_one_line() {
        let text = logged(LogOptions::default(), |log| {
            for id in 0..500 {
                log.event(&connected(id));
                log.event(&Event::Refused { peer: PeerAddr::Unnamed, reason: Refusal::Busy });
            }
        });
        // A slow machine may need more than one second for it; each then has its own lines and sum.
        let lines = text.lines().count();
        assert!(lines < 500, "{lines} lines");
        let summed: u32 = text
            .lines()
            .filter_map(|line| {
                line.split_once(" more connected, ")?.0.split(' ').next_back()?.parse::<u32>().ok()
            })
            .sum();
        let shown = text.matches("connected (1 open)").count();
        assert_eq!(summed as usize + shown, 500);
    }

    #[test]
    fn a_reader_that_never_reads_stops_nobody_and_the_dropped_lines_are_counted() {
        struct Stuck(Receiver<()>);
        impl io::Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = sync_channel(0);
        let log = Log::new(Stuck(stuck), LogOptions::default()).unwrap();
        // What was gathered when the reader got stuck and what the queue holds: beyond that, nothing is kept.
        let said = (1..).inspect(|_| log.say("a line")).find(|_| log.dropped() >= QUEUE as u64).unwrap();
        assert!(said <= 2 * QUEUE + GATHER / "a line\n".len() + 1, "{said} lines");
        assert!(!log.finish(Duration::from_millis(1)));
        drop(release);
        assert!(log.finish(Duration::from_secs(10)), "a queue that was full is waited for");
    }
}
