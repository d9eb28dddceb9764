//! The terms on which a listener speaks TLS, and how they change while it runs.

use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::unix::AsyncFd;

use super::{Secured, Tls};
use crate::buffer::Pool;
use crate::error::Outcome;
use crate::event::{Event, Subscriber};
use crate::server::stream::Stream;
use crate::server::{Handshake, ListenAddr};

/// How often a source is asked for something new.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Where other rules come from: asked every two seconds, on a thread of its own.
pub(crate) type Source = Box<dyn FnMut() -> Outcome<Option<Tls>> + Send>;

/// The terms on which a listener speaks TLS.
pub(crate) struct Terms {
    now: Mutex<Arc<ServerConfig>>,
    source: Mutex<Option<Source>>,
    /// The listeners that they are the terms of.
    addresses: Mutex<Vec<ListenAddr>>,
    /// Whose end is the end of the thread that asks.
    asking: Mutex<Option<SyncSender<()>>>,
}

impl Terms {
    pub(crate) fn new(tls: &Tls, source: Option<Source>) -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(Arc::clone(tls.rules())),
            source: Mutex::new(source),
            addresses: Mutex::default(),
            asking: Mutex::default(),
        })
    }

    /// A connection that begins now. It goes by what holds now, to its end.
    pub(crate) fn secure(
        &self,
        socket: AsyncFd<OwnedFd>,
        pool: &Rc<Pool>,
        handshake: Option<Handshake>,
    ) -> Stream {
        let rules = Arc::clone(&lock(&self.now));
        Stream::Tls(Box::new(Secured::new(socket, rules, pool, handshake)))
    }

    /// Begins to ask for other terms, for one more listener.
    pub(crate) fn renew(self: &Arc<Self>, address: &ListenAddr, events: &Arc<dyn Subscriber>) {
        lock(&self.addresses).push(address.clone());
        let Some(source) = lock(&self.source).take() else { return };
        let (asking, asked) = sync_channel(1);
        let (terms, events) = (Arc::downgrade(self), Arc::clone(events));
        let ask = move || {
            let mut source = source;
            while asked.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout)
                && ask(&terms, &mut source, &*events).is_some()
            {}
        };
        // Without a thread more, all stays as it is, and a reload still changes it.
        if Builder::new().name("landline-tls".into()).spawn(ask).is_ok() {
            *lock(&self.asking) = Some(asking);
        }
    }
}

/// Asks once, and tells what came of it; none if the listener is no more.
fn ask(terms: &Weak<Terms>, source: &mut Source, events: &dyn Subscriber) -> Option<()> {
    let answer = catch_unwind(AssertUnwindSafe(source));
    let answer = answer.unwrap_or_else(|_| Err("whoever reads them panicked".into()));
    let terms = terms.upgrade()?;
    let tell = |event: &dyn Fn(ListenAddr) -> Event| {
        // No lock is held while somebody is told.
        let addresses = lock(&terms.addresses).clone();
        for address in addresses {
            events.event(&event(address));
        }
    };
    match answer {
        Ok(None) => {}
        Ok(Some(tls)) => {
            *lock(&terms.now) = Arc::clone(tls.rules());
            tell(&|address| Event::CertificatesReloaded { address });
        }
        Err(error) => {
            let cause: Box<str> = error.to_string().into();
            tell(&|address| Event::CertificatesRefused { address, cause: cause.clone() });
        }
    }
    Some(())
}

/// What a thread that panicked has left is as good as before: each value is replaced as a whole.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terms")
    }
}
