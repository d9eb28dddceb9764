//! One shot: send messages, see to their replies, leave.
//!
//! What is asked, how often, and what is made of each outcome are three values: [`Schedule`], the messages,
//! and the [`Report`]s.

mod failure;
mod json;
mod latency;
mod plain;

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use landline::client::{self, Conversation, Delimiting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::failure::{Unanswered, not_closed, unexpected};
use self::json::Json;
use self::latency::Latency;
use self::plain::{Plain, Up};
use super::crlf::Crlf;
use super::printer::Printer;
use super::silence::Silence;
use super::{Call, CallArgs, REPLY_MAX, stdio, tls};
use crate::exit::{self, Exit, Failure};
use crate::expect::Expect;

/// What came of asking one message, or of connecting when there is none.
struct Outcome<'a> {
    /// Counts from 1 through all rounds; 0 is connecting itself.
    number: u64,
    /// What came, ended or not, with its ending.
    reply: &'a [u8],
    /// How many bytes of it are its ending.
    ending_len: usize,
    /// What connecting took, if that was part of it.
    connecting: Option<Duration>,
    /// What the reply took.
    took: Duration,
    failure: Option<&'a Failure>,
}

/// Whoever makes something of outcomes.
trait Report {
    /// Something is about to be printed.
    fn make_room(&mut self) {}

    /// The error is one of stdout.
    fn tell(&mut self, outcome: &Outcome<'_>) -> std::io::Result<()>;

    /// There will be no more.
    fn finish(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How often all messages are asked, and how long after the end of one round the next begins.
struct Schedule {
    rounds: Option<u64>,
    interval: Duration,
}

impl Schedule {
    fn new(args: &CallArgs) -> Self {
        let rounds = args.once.repeat.map_or(Some(1), |repeat| repeat.0);
        Self { rounds, interval: args.interval.unwrap_or_default() }
    }

    /// Whether a round that failed is followed by others all the same.
    fn goes_on(&self) -> bool {
        self.rounds != Some(1)
    }
}

/// Sends each MESSAGE and prints the reply to it before the next one goes out: a server that takes whatever
/// one read brings for a message gets them one by one.
pub(super) async fn run(call: &Call<'_>) -> Result<(), Failure> {
    let mut session = Session::new(call);
    let schedule = Schedule::new(call.args);
    let done = tokio::select! {
        done = session.rounds(&schedule) => done,
        // Without anything to tell at the end, Ctrl-C ends the program as it does any other.
        _ = tokio::signal::ctrl_c(), if call.args.once.latency => {
            Err(Failure::new(Exit::Interrupted, "stopped by Ctrl-C"))
        }
    };
    session.finish()?;
    done
}

struct Session<'a> {
    call: &'a Call<'a>,
    messages: Vec<Vec<u8>>,
    expect: Expect,
    reports: Vec<Box<dyn Report>>,
    conversation: Option<Conversation>,
    /// How many messages were asked.
    asked: u64,
    /// Stdout is no more.
    is_unheard: bool,
}

/// Why a round ended before its end.
enum Stop {
    Failed(Failure),
    /// Whoever read stdout has left, which is no failure.
    Unheard,
}

impl<'a> Session<'a> {
    fn new(call: &'a Call<'a>) -> Self {
        let args = call.args;
        let messages = args.messages.iter().map(|message| {
            let message = message.as_bytes();
            if args.crlf { Crlf::default().convert(message) } else { message.to_vec() }
        });
        Self {
            call,
            messages: messages.collect(),
            expect: args.once.expect.clone().unwrap_or_default(),
            reports: reports(call),
            conversation: None,
            asked: 0,
            is_unheard: false,
        }
    }

    /// Round after round; one that fails ends it all, unless there are more to come: then the first failure
    /// is told at once, and how many there were at the end.
    async fn rounds(&mut self, schedule: &Schedule) -> Result<(), Failure> {
        let (mut round, mut failed, mut first) = (0_u64, 0_u64, None);
        while schedule.rounds.is_none_or(|rounds| round < rounds) {
            if round > 0 {
                tokio::time::sleep(schedule.interval).await;
            }
            round += 1;
            match self.round().await {
                Ok(()) => {}
                Err(Stop::Unheard) => {
                    self.is_unheard = true;
                    break;
                }
                Err(Stop::Failed(failure)) if !schedule.goes_on() => return Err(failure),
                Err(Stop::Failed(failure)) => {
                    failed += 1;
                    // What is left of this connection belongs to the question that failed.
                    self.conversation = None;
                    exit::warn(&failure.in_one_line());
                    first.get_or_insert(failure);
                }
            }
        }
        match first {
            None => Ok(()),
            Some(first) => Err(first.under(&format!("{failed} of {round} rounds failed, the first one"))),
        }
    }

    async fn round(&mut self) -> Result<(), Stop> {
        let mut connecting = self.connect().await?;
        if self.messages.is_empty() {
            return self.tell_connected(connecting);
        }
        for at in 0..self.messages.len() {
            self.ask(at, connecting.take()).await?;
        }
        if self.call.args.once.until_eof { self.read_on().await } else { Ok(()) }
    }

    /// Connects if there is no connection; what that took.
    async fn connect(&mut self) -> Result<Option<Duration>, Stop> {
        if self.conversation.is_some() {
            return Ok(None);
        }
        let begun = Instant::now();
        match self.call.connect().await {
            Ok(reached) => {
                let options = options(self.call);
                let address = self.call.args.address.clone();
                self.conversation = Some(options.converse_over(reached.stream, address));
                Ok(Some(begun.elapsed()))
            }
            Err(failure) => {
                let took = begun.elapsed();
                let outcome = Outcome {
                    number: self.asked,
                    reply: b"",
                    ending_len: 0,
                    connecting: Some(took),
                    took: Duration::ZERO,
                    failure: Some(&failure),
                };
                tell(&mut self.reports, &outcome)?;
                Err(Stop::Failed(failure))
            }
        }
    }

    /// Nothing is to be asked: that there is a connection is all, and the next round makes another.
    fn tell_connected(&mut self, connecting: Option<Duration>) -> Result<(), Stop> {
        self.conversation = None;
        let outcome =
            Outcome { number: 0, reply: b"", ending_len: 0, connecting, took: Duration::ZERO, failure: None };
        tell(&mut self.reports, &outcome)
    }

    async fn ask(&mut self, at: usize, connecting: Option<Duration>) -> Result<(), Stop> {
        let Some(conversation) = &mut self.conversation else { return Ok(()) };
        let (args, message) = (self.call.args, &self.messages[at]);
        self.asked += 1;
        let begun = Instant::now();
        let answered = ask(conversation, message, args.timeout).await;
        let took = begun.elapsed();
        let ending_len = if answered.is_ok() { conversation.answer_ending().len() } else { 0 };
        let (reply, failure) = match answered {
            Ok(reply) => {
                let unmet = !self.expect.check(message, &reply[..reply.len() - ending_len]);
                let failure = unmet.then(|| unexpected(args, &self.expect, message, &reply));
                (reply, failure)
            }
            Err(unanswered) => {
                let unfinished = conversation.unfinished().to_vec();
                let failure = unanswered.explain(self.call, self.asked == 1, &unfinished);
                (unfinished, Some(failure))
            }
        };
        let outcome = Outcome {
            number: self.asked,
            reply: &reply,
            ending_len,
            connecting,
            took,
            failure: failure.as_ref(),
        };
        tell(&mut self.reports, &outcome)?;
        failure.map_or(Ok(()), |failure| Err(Stop::Failed(failure)))
    }

    /// Ends our side, and prints whatever the server still says.
    async fn read_on(&mut self) -> Result<(), Stop> {
        let Some(conversation) = self.conversation.take() else { return Ok(()) };
        let (address, limit) = (&self.call.args.address, self.call.args.timeout);
        let (mut stream, held) = conversation.into_parts();
        let mut printer = Printer::new(self.call.args.raw);
        printed(printer.print(&held))?;
        // With TLS, our side ends when the server is done. If it can't be ended any more, reading says why.
        let mut is_ours_open = self.call.args.tls.tls;
        if !is_ours_open {
            let _ = stream.shutdown().await;
        }
        let silence = Silence::new();
        silence.heard();
        loop {
            let mut chunk = Vec::with_capacity(stdio::CHUNK_SIZE);
            let read = tokio::select! {
                biased;
                read = bounded(limit, stream.read_buf(&mut chunk)) => read,
                () = silence.falls(), if is_ours_open => {
                    is_ours_open = false;
                    let _ = stream.shutdown().await;
                    continue;
                }
            };
            silence.heard();
            let read = read.map_err(|limit| Stop::Failed(not_closed(address, limit)))?;
            match read {
                Ok(0) => return printed(printer.finish()),
                Ok(_) => printed(printer.print(&chunk))?,
                Err(error) => return Err(Stop::Failed(tls::failed(client::lost(address, error)))),
            }
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if self.is_unheard {
            return Ok(());
        }
        for report in &mut self.reports {
            report.finish().or_else(|error| Failure::of_stdout(&error))?;
        }
        Ok(())
    }
}

/// What `work` gives, or how long it was waited for in vain.
async fn bounded<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        None => Ok(work.await),
        Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| limit),
    }
}

fn options(call: &Call<'_>) -> client::Options {
    let options = client::Options::new().max_message(REPLY_MAX);
    match call.delimiting() {
        Delimiting::Framed(framing, ending) => options.framing(framing).ending(ending),
        Delimiting::By(delimiter) => options.delimiter(delimiter),
    }
}

/// What is made of outcomes, as asked for.
fn reports(call: &Call<'_>) -> Vec<Box<dyn Report>> {
    let once = &call.args.once;
    let mut reports: Vec<Box<dyn Report>> = Vec::new();
    if once.json {
        reports.push(Box::new(Json::new(call)));
    } else if once.probe {
        reports.push(Box::new(Up::new(call)));
    } else {
        reports.push(Box::new(Plain { raw: call.args.raw }));
    }
    if once.latency {
        reports.push(Box::new(Latency::new()));
    }
    reports
}

fn tell(reports: &mut [Box<dyn Report>], outcome: &Outcome<'_>) -> Result<(), Stop> {
    for report in reports.iter_mut() {
        report.make_room();
    }
    reports.iter_mut().try_for_each(|report| printed(report.tell(outcome)))
}

/// What an error of stdout comes to.
fn printed(outcome: std::io::Result<()>) -> Result<(), Stop> {
    outcome.map_err(|error| match Failure::of_stdout(&error) {
        Ok(()) => Stop::Unheard,
        Err(failure) => Stop::Failed(failure),
    })
}

/// The reply with its ending.
async fn ask(
    client: &mut Conversation,
    message: &[u8],
    timeout: Option<Duration>,
) -> Result<Vec<u8>, Unanswered> {
    let answer = bounded(timeout, client.ask(message)).await.map_err(Unanswered::Timeout)?;
    let mut reply = Vec::from(answer.map_err(Unanswered::Error)?);
    reply.extend_from_slice(client.answer_ending());
    Ok(reply)
}
