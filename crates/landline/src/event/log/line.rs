//! What a log line says, as text and as JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{LogFormat, LogOptions, LogTime};
use crate::event::{Charset, Direction, Event, SocketStep, escape, text};

/// Whatever has a line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Message {
        id: u64,
        #[serde(serialize_with = "direction_word")]
        direction: Direction,
        #[serde(serialize_with = "escaped")]
        text: &'a [u8],
        len: usize,
    },
    Summary {
        connected: u32,
        closed: u32,
        refused: u32,
        failed: u32,
    },
    Dropped {
        count: u64,
    },
    Step(&'a SocketStep),
    /// Has a tag of its own.
    #[serde(untagged)]
    Event(&'a Event),
}

#[derive(Serialize)]
struct Timed<'a> {
    time: String,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

impl Line<'_> {
    /// The whole line, without its end.
    pub(super) fn written(&self, time: Timestamp, options: LogOptions) -> String {
        // Between two steps there may be less than a millisecond.
        let digits = if options.steps { 6 } else { 3 };
        match options.format {
            LogFormat::Text => format!("{} {}", clock(time, options, digits), self.text(options.charset)),
            // The fields are numbers and ASCII strings: they always have a JSON form.
            LogFormat::Json => serde_json::to_string(&Timed { time: format!("{time:.digits$}"), line: self })
                .unwrap_or_default(),
        }
    }

    fn text(&self, charset: Charset) -> String {
        match self {
            Line::Event(event) => event.line(charset),
            Line::Step(step) => step.line(charset),
            Line::Message { id, direction, text, len } => {
                let arrow = if *direction == Direction::In { '<' } else { '>' };
                let mut line = format!("#{id} {arrow} {}", escape(text, charset));
                if text.len() < *len {
                    let _ = write!(line, " ... ({len} bytes)");
                }
                line
            }
            Line::Summary { connected, closed, refused, failed } => {
                let kinds =
                    [(connected, "connected"), (closed, "closed"), (refused, "refused"), (failed, "lost")];
                let counts = kinds.into_iter().filter(|(count, _)| **count > 0);
                let counts: Vec<String> =
                    counts.map(|(count, what)| format!("{count} more {what}")).collect();
                format!("{} in that second", counts.join(", "))
            }
            Line::Dropped { count } => format!("{} dropped", text::count(*count, "log line")),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn direction_word<S: serde::Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *direction == Direction::In { "in" } else { "out" })
}

fn escaped<S: serde::Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(bytes, Charset::Ascii))
}

fn clock(time: Timestamp, options: LogOptions, digits: usize) -> String {
    match options.time {
        LogTime::Clock => {
            let format = if options.steps { "%H:%M:%S%.6f" } else { "%H:%M:%S" };
            time.to_zoned(TimeZone::system()).strftime(format).to_string()
        }
        LogTime::Timestamp => format!("{time:.digits$}"),
    }
}
