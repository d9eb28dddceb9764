//! `--json`: each outcome as an object on a line of its own.

use std::fmt::Write as _;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, Report};
use crate::call::watch::Times;
use crate::call::{Call, stdio, watch};
use crate::exit::Failure;

pub(super) struct Json {
    address: String,
    times: watch::Shared,
    has_expectation: bool,
    /// What had passed before, of which the next object does not tell.
    sent: u64,
    received: u64,
}

/// The object. docs/call.md says what each part is.
#[derive(Serialize)]
struct Object<'a> {
    address: &'a str,
    peer: Option<String>,
    local: Option<String>,
    tls: Option<&'static str>,
    alpn: Option<String>,
    number: u64,
    reply: Option<&'a str>,
    reply_hex: Option<String>,
    bytes: Bytes,
    times_ms: TimesMs,
    expected: Option<bool>,
    error: Option<ErrorObject<'a>>,
}

#[derive(Serialize)]
struct Bytes {
    sent: u64,
    received: u64,
}

#[derive(Serialize)]
struct TimesMs {
    resolve: Option<f64>,
    connect: Option<f64>,
    tls: Option<f64>,
    first_byte: Option<f64>,
    total: f64,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    text: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

impl Json {
    pub(super) fn new(call: &Call<'_>) -> Self {
        Self {
            address: call.args.address.to_string(),
            times: call.watch.times(),
            has_expectation: call.args.once.expect.is_some(),
            sent: 0,
            received: 0,
        }
    }

    /// How much passed since the last object. A new connection counts from 0.
    fn passed(&mut self, times: &Times, is_new: bool) -> Bytes {
        if is_new {
            (self.sent, self.received) = (0, 0);
        }
        let passed =
            Bytes { sent: times.bytes_sent - self.sent, received: times.bytes_received - self.received };
        (self.sent, self.received) = (times.bytes_sent, times.bytes_received);
        passed
    }
}

impl Report for Json {
    fn tell(&mut self, outcome: &Outcome<'_>) -> io::Result<()> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = outcome.connecting.is_some();
        let bytes = self.passed(&times, is_new);
        let reply = &outcome.reply[..outcome.reply.len() - outcome.ending_len];
        let is_there = outcome.failure.is_none() && outcome.number > 0 || !outcome.reply.is_empty();
        let text = str::from_utf8(reply).ok();
        // Only for the first question on a connection, connecting was a part of it.
        let of_connecting = |took: Option<Duration>| took.filter(|_| is_new).map(ms);
        let object = Object {
            address: &self.address,
            peer: times.peer.map(|address| address.to_string()),
            local: times.local.map(|address| address.to_string()),
            tls: times.tls,
            alpn: times.alpn.as_ref().map(|name| String::from_utf8_lossy(name).into_owned()),
            number: outcome.number,
            reply: text.filter(|_| is_there),
            reply_hex: text.is_none().then(|| hex(reply)),
            bytes,
            times_ms: TimesMs {
                resolve: of_connecting(times.resolve()),
                connect: of_connecting(times.connect()),
                tls: of_connecting(times.tls()),
                first_byte: times.first_byte().map(ms),
                total: ms(outcome.connecting.unwrap_or_default() + outcome.took),
            },
            expected: self.has_expectation.then_some(outcome.failure.is_none()),
            error: outcome.failure.map(error),
        };
        let mut line = serde_json::to_string(&object).map_err(io::Error::other)?;
        line.push('\n');
        stdio::print(line.as_bytes())
    }
}

fn error(failure: &Failure) -> ErrorObject<'_> {
    ErrorObject { text: failure.text(), hint: failure.hint_text(), exit_code: failure.code() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Milliseconds, to the microsecond.
fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}
