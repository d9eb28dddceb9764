//! What went wrong with one question, for people.

use std::time::Duration;

use landline::Address;
use landline::event::{Charset, escape};
use landline::frame::Framing;

use crate::call::{Call, CallArgs, tls};
use crate::exit::{Exit, Failure};
use crate::expect::Expect;

/// How much of a message or a reply is shown in an error, in bytes.
const SHOWN_MAX: usize = 60;

/// Why there is no reply.
pub(super) enum Unanswered {
    Timeout(Duration),
    Error(landline::error::Error),
}

impl Unanswered {
    pub(super) fn explain(self, call: &Call<'_>, is_first: bool, unfinished: &[u8]) -> Failure {
        let limit = match self {
            // Many servers that speak TLS have no word for those who don't.
            Unanswered::Error(error)
                if error.is_lost() && !call.args.tls.tls && is_first && unfinished.is_empty() =>
            {
                return Failure::from(error).hint("if it speaks TLS, add --tls");
            }
            Unanswered::Error(error) => return tls::failed(error),
            Unanswered::Timeout(limit) => limit,
        };
        let text = format!("no reply from {} within {limit:?}", call.args.address);
        let failure = Failure::new(Exit::Timeout, text);
        match (call.framing, &call.args.delimiter) {
            (_, Some(_)) if !unfinished.is_empty() => failure.hint("what came has no such delimiter"),
            (Framing::Line, None) if !unfinished.is_empty() => {
                failure.hint("what came has no line ending; for a server that sends none, use --framing raw")
            }
            _ => failure.hint("--timeout sets how long to wait"),
        }
    }
}

pub(super) fn unexpected(args: &CallArgs, expect: &Expect, message: &[u8], reply: &[u8]) -> Failure {
    let text = format!(
        "the reply of {} to '{}' is not what was expected: '{}'",
        args.address,
        shortened(message),
        shortened(reply)
    );
    Failure::new(Exit::Expectation, text)
        .hint(format!("--expect says {}", shortened(expect.to_string().as_bytes())))
}

/// Bytes for an error message.
fn shortened(bytes: &[u8]) -> String {
    let shown = escape(&bytes[..bytes.len().min(SHOWN_MAX)], Charset::Utf8);
    if bytes.len() > SHOWN_MAX { format!("{shown}… ({} B)", bytes.len()) } else { shown }
}

pub(super) fn not_closed(address: &Address, limit: Duration) -> Failure {
    let text = format!("{address} has not closed, and has said nothing for {limit:?}");
    Failure::new(Exit::Timeout, text).hint("--timeout sets how long to wait")
}
