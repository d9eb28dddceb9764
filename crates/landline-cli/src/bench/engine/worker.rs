//! One thread of a run: an epoll loop over its connections.

use std::io;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime, timerfd_create,
    timerfd_settime,
};

use super::caller::{Caller, Context};
use super::pace::{Pace, Rota};
use super::{Glimpse, Moment, Run};
use crate::bench::tally::Tally;
use crate::expect::Expect;

/// How many events one wait brings at most.
const EVENTS: usize = 1024;
/// How much one read takes at most, in bytes.
const BUFFER: usize = 256 << 10;
/// How often the time of every connection is looked at, in nanoseconds.
const LOOK_EVERY: u64 = 50_000_000;
const SECOND: u64 = 1_000_000_000;

/// What a thread has to say at its end.
pub(super) struct Done {
    pub(super) tally: Tally,
    /// When the last reply had come or was given up.
    pub(super) ended: u64,
    pub(super) ways: Vec<(Duration, u32)>,
    pub(super) cpu: Duration,
}

/// Talks until the run is over and every reply has come or is given up.
pub(super) fn work(
    run: &Run,
    index: usize,
    threads: usize,
    moments: &SyncSender<Moment>,
) -> io::Result<Done> {
    let mut worker = Worker::new(run, index, threads, moments)?;
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        let now = run.clock.now();
        if worker.is_done(now) {
            break;
        }
        worker.look(now);
        let wait = worker.wake_at(now).saturating_sub(run.clock.now());
        worker.wind()?;
        epoll::wait(&worker.epoll, spare_capacity(&mut events), Some(&timespec(wait)))
            .or_else(|error| if error == rustix::io::Errno::INTR { Ok(0) } else { Err(error) })?;
        for event in events.drain(..) {
            let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            worker.on(place, |caller, context| caller.ready(event.flags, context));
        }
        worker.take_turns();
    }
    Ok(worker.finish())
}

struct Worker<'a> {
    run: &'a Run,
    epoll: OwnedFd,
    callers: Vec<Caller>,
    rota: Option<Rota>,
    /// What wakes it up for the next turn: epoll itself counts in milliseconds.
    alarm: Option<OwnedFd>,
    /// When the next connection may be begun, if that has a pace.
    connect_at: u64,
    connect_step: u64,
    look_at: u64,
    expect: Expect,
    tally: Tally,
    /// Which second of the run it is; none while it warms up.
    second: Option<usize>,
    buffer: Vec<u8>,
    /// The CPU time of this thread when its warm-up was over.
    cpu_before: Duration,
    moments: &'a SyncSender<Moment>,
}

impl<'a> Worker<'a> {
    fn new(run: &'a Run, index: usize, threads: usize, moments: &'a SyncSender<Moment>) -> io::Result<Self> {
        let connections = run.plan.connections;
        let mine: Vec<u64> = (index as u64..connections).step_by(threads).collect();
        let callers =
            mine.iter().enumerate().map(|(place, number)| Caller::new(run, *number, place)).collect();
        let rota = match run.plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(Rota::new(per_second, connections, mine)),
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = rota.is_some().then(|| alarm(&epoll)).transpose()?;
        let connect_step = run.plan.connect_rate.map_or(0, |rate| step(rate, threads));
        Ok(Self {
            run,
            epoll,
            callers,
            rota,
            alarm,
            connect_at: connect_step * index as u64 / threads as u64,
            connect_step,
            look_at: 0,
            expect: run.plan.expect.clone(),
            tally: Tally::new(),
            second: run.second(0),
            buffer: vec![0; BUFFER],
            cpu_before: Duration::ZERO,
            moments,
        })
    }

    fn on(&mut self, place: usize, act: impl FnOnce(&mut Caller, &mut Context<'_>)) {
        let mut context = Context {
            run: self.run,
            epoll: &self.epoll,
            expect: &self.expect,
            tally: &mut self.tally,
            buffer: &mut self.buffer,
        };
        if let Some(caller) = self.callers.get_mut(place) {
            act(caller, &mut context);
            // A conversation that ended in order is followed by the next at once.
            if self.connect_step == 0 && caller.is_away() {
                let now = self.run.clock.now();
                if caller.wants_to_connect(now) && !self.run.stop.is_over(now) {
                    caller.connect(&mut context);
                }
            }
        }
    }

    /// Whether nothing more is to be sent or waited for.
    fn is_done(&mut self, now: u64) -> bool {
        if !self.run.stop.is_over(now) {
            return false;
        }
        let end = self.run.stop.at().min(now);
        if self.callers.iter().all(|caller| !caller.is_waiting()) {
            return true;
        }
        // Whoever is too late is known by its own time; this bounds the whole.
        end + self.run.timeout() <= now
    }

    /// Looks after what only time brings.
    fn look(&mut self, now: u64) {
        if self.run.second(now) != self.second {
            self.report(self.run.second(now));
        }
        self.begin_connections(now);
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            for place in 0..self.callers.len() {
                self.on(place, Caller::check_time);
            }
        }
    }

    fn begin_connections(&mut self, now: u64) {
        if self.run.stop.is_over(now) {
            return;
        }
        if self.connect_step == 0 {
            if now >= self.look_at {
                for place in 0..self.callers.len() {
                    if self.callers[place].wants_to_connect(now) {
                        self.on(place, Caller::connect);
                    }
                }
            }
            return;
        }
        while self.connect_at <= now {
            self.connect_at += self.connect_step;
            let Some(place) = self.callers.iter().position(|caller| caller.wants_to_connect(now)) else {
                continue;
            };
            self.on(place, Caller::connect);
        }
    }

    /// Lets those send whose turn it is.
    fn take_turns(&mut self) {
        let now = self.run.clock.now();
        while let Some(place) = self.rota.as_mut().and_then(|rota| rota.take(now)) {
            self.on(place, Caller::turn);
        }
    }

    /// Sets the alarm for the next turn; that also silences it if it has rung.
    fn wind(&self) -> io::Result<()> {
        let (Some(alarm), Some(rota)) = (&self.alarm, &self.rota) else { return Ok(()) };
        // No time at all would mean never.
        let left = rota.next_at().saturating_sub(self.run.clock.now()).max(1);
        let never = timespec(0);
        let setting = Itimerspec { it_interval: never, it_value: timespec(left) };
        timerfd_settime(alarm, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// When something is due that is not a turn.
    fn wake_at(&self, now: u64) -> u64 {
        let next_connect = if self.connect_step == 0 { u64::MAX } else { self.connect_at };
        let next_second = now + SECOND - (now + SECOND - self.run.warmup() % SECOND) % SECOND;
        let end = if self.run.stop.is_over(now) { u64::MAX } else { self.run.stop.at() };
        next_connect.min(next_second).min(self.look_at).min(end)
    }

    /// Says what happened in the second that is over.
    fn report(&mut self, now_is: Option<usize>) {
        // Whoever watches is gone only if the run was given up.
        if let Some(second) = std::mem::replace(&mut self.second, now_is) {
            let interval = self.tally.over(second);
            let _ = self.moments.send(Moment::Second(Glimpse { second, interval }));
            return;
        }
        // What happened in the warm-up does not count.
        self.tally = Tally::new();
        self.cpu_before = own_cpu();
        let _ = self.moments.send(Moment::WarmedUp);
    }

    fn finish(mut self) -> Done {
        for place in 0..self.callers.len() {
            self.on(place, Caller::give_up);
        }
        let ended = self.run.clock.now();
        let ways = self.callers.iter().filter_map(Caller::socket).filter_map(way).collect();
        if self.second.is_some() {
            self.report(None);
        }
        let cpu = own_cpu().saturating_sub(self.cpu_before);
        Done { tally: self.tally, ended, ways, cpu }
    }
}

/// The CPU time of this thread.
fn own_cpu() -> Duration {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(cpu.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(cpu.tv_nsec).unwrap_or(0))
}

/// A timer that epoll watches.
fn alarm(epoll: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // The number is that of no connection.
    epoll::add(epoll, &alarm, EventData::new_u64(u64::MAX), EventFlags::IN)?;
    Ok(alarm)
}

fn way(socket: &socket2::Socket) -> Option<(Duration, u32)> {
    landline::client::way(socket).map(|way| (way.round_trip, way.retransmits))
}

/// The time between two connections that a thread begins, in nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a pace is positive")]
#[expect(clippy::cast_precision_loss, reason = "there are few threads")]
fn step(per_second: f64, threads: usize) -> u64 {
    ((1e9 * threads as f64 / per_second) as u64).max(1)
}

fn timespec(nanoseconds: u64) -> Timespec {
    let whole = i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX);
    Timespec { tv_sec: whole, tv_nsec: i64::try_from(nanoseconds % SECOND).unwrap_or(0) }
}
