//! The signals that a server obeys.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sys::signals;
use crate::takeover::{self, Orders};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// SIGINT, SIGTERM: end.
    End,
    /// SIGHUP: look at the configuration again; without one, end.
    HangUp,
    /// Say that an upgrade failed.
    #[cfg_attr(
        not(all(feature = "takeover", target_os = "linux")),
        expect(dead_code, reason = "only a keeper asks for it")
    )]
    TellOfUpgrade,
    /// Let another program take the place of this one.
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    MakeWay,
    /// The keeper was killed. Nobody gives orders any more: who asks for the next has to
    /// [obey signals itself](Signals::obey_oneself) from here on, or become the keeper.
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    KeeperIsGone,
}

/// The signals of the process, or of its keeper.
pub(crate) struct Signals {
    /// Those of a keeper, as long as there is one.
    orders: Option<Orders>,
    /// None before the keeper is gone, or if they can't be had then.
    own: Option<Own>,
}

impl Signals {
    /// Listens from now on. SIGINT and SIGHUP are left alone if they were ignored at the start.
    pub(crate) fn new() -> io::Result<Self> {
        let orders = takeover::orders()?;
        let own = if orders.is_none() { Some(Own::new()?) } else { None };
        Ok(Self { orders, own })
    }

    /// Waits for the next of them. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        if let Some(orders) = &mut self.orders {
            return orders.next().await;
        }
        match &mut self.own {
            Some(own) => own.next().await,
            None => pending().await,
        }
    }

    /// Listens to those of the process from here on, whatever a keeper orders.
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    pub(crate) fn obey_oneself(&mut self) {
        self.orders = None;
        // Without them, what is left is to go on.
        self.own = Own::new().ok();
        takeover::obey_signals_oneself();
    }

    /// Completes once the keeper is gone. Cancel-safe.
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    pub(crate) async fn keeper_is_gone(&self) {
        if let Some(orders) = &self.orders {
            orders.keeper_is_gone().await;
        }
    }

    /// Waits for one that ends a server. Cancel-safe.
    pub(crate) async fn end(&mut self, hangup_ends: bool) {
        loop {
            match self.next().await {
                Ask::End => return,
                Ask::HangUp if hangup_ends => return,
                // A server that ends needs no keeper.
                #[cfg(all(feature = "takeover", target_os = "linux"))]
                Ask::KeeperIsGone => self.obey_oneself(),
                _ => {}
            }
        }
    }
}

/// The signals of the process.
struct Own {
    interrupt: Option<Signal>,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Own {
    fn new() -> io::Result<Self> {
        let unless_ignored =
            |kind: SignalKind| (!signals::is_ignored(kind.as_raw_value())).then(|| signal(kind)).transpose();
        Ok(Self {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Ask {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => Ask::End,
            _ = self.terminate.recv() => Ask::End,
            () = one(&mut self.hangup) => Ask::HangUp,
        }
    }
}
