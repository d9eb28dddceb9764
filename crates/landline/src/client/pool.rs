//! Several connections to one server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Client, Options};
use crate::address::Address;
use crate::error::Error;

/// Several clients of one server, for when one connection is not enough: a server that answers each
/// connection on another thread, or answers that take long and hold up those behind them.
///
/// An ask goes to the client with the fewest that wait. Clients connect when they are first asked, each for
/// itself, so a server that refuses some of them is served by the others once a
/// [check](Self::check_every) has told which. Clones share the clients.
///
/// ```no_run
/// use std::time::Duration;
/// use landline::client::{Options, Pool};
///
/// # async fn ask() -> Result<(), landline::Error> {
/// let pool = Pool::new(&Options::new(), &"127.0.0.1:8081".parse()?, 4)
///     .check_every(Duration::from_secs(5), "ping", |answer| answer == b"PING");
/// assert_eq!(pool.ask("hello").await?, "HELLO");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pool {
    members: Arc<[Member]>,
    /// Whose turn it is among equals.
    turn: Arc<AtomicUsize>,
    /// They end with the last clone.
    checks: Arc<JoinSet<()>>,
}

#[derive(Clone)]
struct Member {
    client: Client,
    is_well: Arc<AtomicBool>,
}

impl Pool {
    /// So many clients, at least one, of the server at `address`; nobody is called yet. It has to be made
    /// within a runtime of tokio.
    pub fn new(options: &Options, address: &Address, size: usize) -> Self {
        let member = || Member {
            client: options.connect_later(address.clone()),
            is_well: Arc::new(AtomicBool::new(true)),
        };
        Self {
            members: (0..size.max(1)).map(|_| member()).collect(),
            turn: Arc::default(),
            checks: Arc::default(),
        }
    }

    /// Asks `question` of each client now and `interval` after each answer. Whoever has no answer, or one of
    /// which `is_well` says no, gets no asks until it has a good one. So does a client whose connection was
    /// lost under an ask. When none is well, all are asked.
    #[must_use = "the checks are those of what it returns"]
    pub fn check_every(
        mut self,
        interval: Duration,
        question: impl Into<Bytes>,
        is_well: impl Fn(&[u8]) -> bool + Clone + Send + Sync + 'static,
    ) -> Self {
        let question = question.into();
        let mut checks = JoinSet::new();
        for member in self.members.iter().cloned() {
            let (question, is_well) = (question.clone(), is_well.clone());
            checks.spawn(async move {
                loop {
                    let answer = member.client.ask_idempotent(&question).await;
                    member.is_well.store(answer.is_ok_and(|answer| is_well(&answer)), Relaxed);
                    tokio::time::sleep(interval).await;
                }
            });
        }
        self.checks = Arc::new(checks);
        self
    }

    /// Asks one of the clients; see [`Client::ask`].
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    ///
    /// # Cancel safety
    /// As [`Client::ask`].
    pub async fn ask(&self, message: impl AsRef<[u8]>) -> Result<Bytes, Error> {
        let member = self.choose();
        member.heed(member.client.ask(message).await, &self.checks)
    }

    /// Asks one of the clients; see [`Client::ask_idempotent`].
    ///
    /// # Errors
    /// Those of [`Client::ask_idempotent`].
    ///
    /// # Cancel safety
    /// As [`Client::ask`].
    pub async fn ask_idempotent(&self, message: impl AsRef<[u8]>) -> Result<Bytes, Error> {
        let member = self.choose();
        member.heed(member.client.ask_idempotent(message).await, &self.checks)
    }

    /// How many clients there are, and how many of them are well.
    pub fn size(&self) -> (usize, usize) {
        (self.members.len(), self.members.iter().filter(|member| member.is_well()).count())
    }

    fn choose(&self) -> &Member {
        let turn = self.turn.fetch_add(1, Relaxed) % self.members.len();
        let (before, from) = self.members.split_at(turn);
        let load = |member: &&Member| (!member.is_well(), member.client.waiting());
        from.iter().chain(before).min_by_key(load).unwrap_or(&self.members[0])
    }
}

impl Member {
    fn is_well(&self) -> bool {
        self.is_well.load(Relaxed)
    }

    /// Learns from an outcome, if there is somebody to find out when it is well again.
    fn heed(&self, outcome: Result<Bytes, Error>, checks: &JoinSet<()>) -> Result<Bytes, Error> {
        let is_down = |error: &Error| error.is_lost() || error.is_connect() || error.is_timeout();
        if !checks.is_empty() && outcome.as_ref().is_err_and(is_down) {
            self.is_well.store(false, Relaxed);
        }
        outcome
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (members, well) = self.size();
        f.debug_struct("Pool").field("members", &members).field("well", &well).finish_non_exhaustive()
    }
}
