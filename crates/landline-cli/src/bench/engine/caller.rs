//! One connection of a run: what it has sent, what it waits for, what it hears.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Duration;

use landline::frame::{Cut, Decoder, Framing};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use socket2::Socket;

use super::fault::{is_itself, of_connect, of_talk};
use super::pace::Turns;
use super::{Pace, Run};
use crate::bench::tally::{ErrorKind, Tally};
use crate::expect::Expect;

/// How long a caller waits before it tries again to connect, in nanoseconds.
const RETRY_AFTER: u64 = 100_000_000;
/// The longest reply that is waited for, in bytes: a server that never ends one can't use up this machine's
/// memory. It is a wrong one.
const REPLY_MAX: usize = 64 << 20;
/// Answered requests are forgotten when they take up this much, in bytes.
const LOG_SLACK: usize = 64 << 10;

/// What every caller of a thread needs.
pub(super) struct Context<'a> {
    pub(super) run: &'a Run,
    pub(super) epoll: &'a OwnedFd,
    pub(super) expect: &'a Expect,
    pub(super) tally: &'a mut Tally,
    /// What is read goes here first.
    pub(super) buffer: &'a mut [u8],
}

/// One connection, and after it is lost, the next in its place.
pub(super) struct Caller {
    number: u64,
    /// Its place in the thread's list, by which epoll names it.
    place: usize,
    stage: Stage,
    turns: Turns,
    /// How many messages it has sent, on all its connections.
    sequence: u64,
    /// How many on this one.
    on_this: u64,
    /// Requests that were written or are to be, as they go over the wire, from the oldest without a reply.
    log: Vec<u8>,
    written: usize,
    waiting: VecDeque<Waiting>,
    /// What came of a reply that is not complete.
    heard: Vec<u8>,
    decoder: Decoder,
    waits_to_write: bool,
}

enum Stage {
    /// It is to connect from then on.
    Away {
        until: u64,
    },
    Connecting {
        socket: Socket,
        since: u64,
    },
    Open {
        socket: Socket,
    },
}

/// A request without a reply.
struct Waiting {
    /// Where the payload lies in the log.
    payload: Range<usize>,
    meant: u64,
    sent: u64,
}

/// Why a conversation can't go on.
type Broken = ErrorKind;

impl Caller {
    pub(super) fn new(run: &Run, number: u64, place: usize) -> Self {
        Self {
            number,
            place,
            stage: Stage::Away { until: 0 },
            turns: Turns::new(run.plan.pace, number, run.plan.connections),
            sequence: 0,
            on_this: 0,
            log: Vec::new(),
            written: 0,
            waiting: VecDeque::new(),
            heard: Vec::new(),
            decoder: Decoder::new(run.plan.framing, REPLY_MAX),
            waits_to_write: false,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self.stage, Stage::Away { .. })
    }

    /// Whether it may begin to connect.
    pub(super) fn wants_to_connect(&self, now: u64) -> bool {
        matches!(self.stage, Stage::Away { until } if until <= now)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The socket, for what the kernel has measured.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match &self.stage {
            Stage::Open { socket } => Some(socket),
            _ => None,
        }
    }

    /// Begins to connect.
    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        let since = context.run.clock.now();
        let socket = match context.run.plan.target.connect() {
            Ok(socket) => socket,
            Err(error) => return self.lose(of_connect(&error), context),
        };
        let added = epoll::add(context.epoll, &socket, self.event(), EventFlags::OUT);
        self.stage = Stage::Connecting { socket, since };
        if added.is_err() {
            self.lose(ErrorKind::Unreachable, context);
        }
    }

    /// Something happened on the socket.
    pub(super) fn ready(&mut self, flags: EventFlags, context: &mut Context<'_>) {
        let outcome = match &self.stage {
            Stage::Away { .. } => Ok(()),
            Stage::Connecting { .. } => self.connected(context),
            Stage::Open { .. } => self.converse(flags, context),
        };
        if let Err(kind) = outcome {
            self.lose(kind, context);
        }
    }

    /// Sends what is due.
    pub(super) fn turn(&mut self, context: &mut Context<'_>) {
        if matches!(self.stage, Stage::Open { .. })
            && let Err(kind) = self.send_due(context)
        {
            self.lose(kind, context);
        }
    }

    /// Gives up what takes too long.
    pub(super) fn check_time(&mut self, context: &mut Context<'_>) {
        let now = context.run.clock.now();
        let limit = context.run.timeout();
        match &self.stage {
            Stage::Connecting { since, .. } if since + limit <= now => {
                self.lose(ErrorKind::ConnectTimeout, context);
            }
            Stage::Open { .. } if self.waiting.front().is_some_and(|first| first.sent + limit <= now) => {
                self.lose(ErrorKind::ReplyTimeout, context);
            }
            _ => {}
        }
    }

    /// The run is over, and there is no more time for a reply.
    pub(super) fn give_up(&mut self, context: &mut Context<'_>) {
        if self.is_waiting() {
            self.lose(ErrorKind::ReplyTimeout, context);
        }
    }

    fn connected(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        let until = context.run.clock.now() + RETRY_AFTER;
        let Stage::Connecting { socket, since } = std::mem::replace(&mut self.stage, Stage::Away { until })
        else {
            return Ok(());
        };
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(of_connect(&error)),
        }
        if is_itself(&socket) {
            return Err(ErrorKind::Refused);
        }
        context.tally.connected(span(since, context.run.clock.now()));
        epoll::modify(context.epoll, &socket, self.event(), EventFlags::IN)
            .map_err(|_| ErrorKind::Unreachable)?;
        self.stage = Stage::Open { socket };
        self.on_this = 0;
        self.send_due(context)
    }

    fn converse(&mut self, flags: EventFlags, context: &mut Context<'_>) -> Result<(), Broken> {
        if flags.contains(EventFlags::OUT) {
            self.write(context)?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.hear(context)?;
            self.send_due(context)?;
        }
        Ok(())
    }

    /// Sends as many requests as are due and there is room for, with one write.
    fn send_due(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        let plan = &context.run.plan;
        let before = self.waiting.len();
        let now = context.run.clock.now();
        while self.waiting.len() < plan.pipeline && plan.churn.is_none_or(|churn| self.on_this < churn) {
            let Some(meant) = self.turns.due(now) else { break };
            if !context.run.stop.take(now) {
                break;
            }
            self.turns.sent();
            let start = self.log.len();
            let payload = self.render(context);
            let slip = matches!(plan.pace, Pace::Open { .. }).then(|| span(meant, now));
            context.tally.sent(self.log.len() - start, slip);
            self.waiting.push_back(Waiting { payload, meant, sent: now });
            self.on_this += 1;
        }
        if self.waiting.len() == before {
            return Ok(());
        }
        self.write(context)
    }

    /// Appends the next request to the log as it goes over the wire; says where its payload lies.
    fn render(&mut self, context: &Context<'_>) -> Range<usize> {
        let framing = context.run.plan.framing;
        let start = self.log.len();
        self.log.resize(start + framing.prefix_len(), 0);
        let payload = self.log.len();
        context.run.plan.payload.render(self.number, self.sequence, &mut self.log);
        self.sequence += 1;
        let end = self.log.len();
        // A payload that can't be framed was refused before the run.
        let suffix = framing.seal(&mut self.log[start..], landline::frame::Ending::Lf).unwrap_or_default();
        self.log.extend_from_slice(suffix);
        payload..end
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        let Stage::Open { socket } = &self.stage else { return Ok(()) };
        while self.written < self.log.len() {
            match (&*socket).write(&self.log[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(of_talk(&error)),
            }
        }
        let waits = self.written < self.log.len();
        if waits != self.waits_to_write {
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(context.epoll, socket, self.event(), flags).map_err(|_| ErrorKind::Reset)?;
            self.waits_to_write = waits;
        }
        Ok(())
    }

    /// Reads once, and takes the replies in what came.
    fn hear(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        let Stage::Open { socket } = &self.stage else { return Ok(()) };
        let count = match (&*socket).read(context.buffer) {
            Ok(0) if self.is_waiting() => return Err(ErrorKind::ClosedEarly),
            Ok(0) => {
                self.part(context);
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(of_talk(&error)),
        };
        context.tally.received(count);
        let now = context.run.clock.now();
        let Context { run, tally, buffer, expect, .. } = context;
        if self.heard.is_empty() {
            let taken = self.take_replies(&buffer[..count], now, run, expect, tally)?;
            self.heard.extend_from_slice(&buffer[taken..count]);
        } else {
            let mut heard = std::mem::take(&mut self.heard);
            heard.extend_from_slice(&buffer[..count]);
            let taken = self.take_replies(&heard, now, run, expect, tally)?;
            heard.drain(..taken);
            self.heard = heard;
        }
        if self.waiting.is_empty() && !self.heard.is_empty() {
            return Err(ErrorKind::ExtraBytes);
        }
        self.forget_answered();
        if self.waiting.is_empty() && run.plan.churn.is_some_and(|churn| self.on_this >= churn) {
            self.part(context);
        }
        Ok(())
    }

    /// Checks every complete reply; says how much of the input they took up.
    fn take_replies(
        &mut self,
        input: &[u8],
        now: u64,
        run: &Run,
        expect: &Expect,
        tally: &mut Tally,
    ) -> Result<usize, Broken> {
        let mut taken = 0;
        while let Some(first) = self.waiting.front() {
            let request = &self.log[first.payload.clone()];
            let rest = &input[taken..];
            let (body, end) = match run.plan.framing {
                Framing::Raw => match expect.reply_len(request) {
                    Some(len) if rest.len() < len => break,
                    Some(len) => (0..len, len),
                    None if rest.is_empty() => break,
                    None => (0..rest.len(), rest.len()),
                },
                _ => match self.decoder.next(rest).map_err(|_| ErrorKind::WrongReply)? {
                    Cut::Message { body, end, .. } => (body, end),
                    _ => break,
                },
            };
            let is_right = expect.check(request, &rest[body]);
            taken += end;
            if !is_right {
                return Err(ErrorKind::WrongReply);
            }
            let from_schedule = matches!(run.plan.pace, Pace::Open { .. }).then(|| span(first.meant, now));
            tally.replied(run.measured(now), span(first.sent, now), from_schedule);
            self.waiting.pop_front();
        }
        Ok(taken)
    }

    /// Lets go of requests that were answered, when that is cheap or there are many.
    fn forget_answered(&mut self) {
        let start = self
            .waiting
            .front()
            .map_or(self.log.len(), |first| first.payload.start - self.decoder.framing().prefix_len());
        if start == self.log.len() || start > LOG_SLACK {
            let start = start.min(self.written);
            self.log.drain(..start);
            self.written -= start;
            for waiting in &mut self.waiting {
                waiting.payload = waiting.payload.start - start..waiting.payload.end - start;
            }
        }
    }

    /// Ends a connection that owes nothing, and begins another at once.
    fn part(&mut self, context: &Context<'_>) {
        self.reset(context.run.clock.now());
    }

    /// Ends a connection by a fault. What else was not answered never will be.
    fn lose(&mut self, kind: ErrorKind, context: &mut Context<'_>) {
        let now = context.run.clock.now();
        let at = context.run.measured(now);
        context.tally.failed(at, kind, 1);
        if let more @ 1.. = (self.waiting.len() as u64).saturating_sub(1) {
            context.tally.failed(at, ErrorKind::ClosedEarly, more);
        }
        self.reset(now + RETRY_AFTER);
    }

    fn reset(&mut self, until: u64) {
        // The socket is closed with it, and leaves epoll by that.
        self.stage = Stage::Away { until };
        self.log.clear();
        self.written = 0;
        self.waiting.clear();
        self.heard.clear();
        self.decoder = Decoder::new(self.decoder.framing(), REPLY_MAX);
        self.waits_to_write = false;
    }

    fn event(&self) -> EventData {
        EventData::new_u64(self.place as u64)
    }
}

fn span(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}
