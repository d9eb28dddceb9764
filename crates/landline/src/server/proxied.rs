//! Who calls by way of a proxy: the proxy says so in a header, before anything else, and only then is there
//! somebody to be let in or refused.
//!
//! The header is looked at and left where it is until the connection is in the table. So whoever waits here is,
//! by the kernel's counts, somebody of whom nothing was read, and if this process dies the next one has them
//! stand at the door again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use tokio::time::timeout;

use super::admission::Handshake;
use super::crew::{ByProxy, Caller};
use super::door::Door;
use super::table::Admitted;
use crate::error::describe;
use crate::event::{Event, Named, PeerAddr, Refusal, Via};
use crate::proxy::{HEADER_MAX, Header, HeaderError, Parsed, Proxied, parse};
use crate::sys::socket;

/// Why there is nobody to be let in.
enum Nobody {
    Refused(Refusal),
    /// The connection failed.
    Gone(io::Error),
}

impl Door {
    /// Has a proxy say for whom it calls, and then decides about them.
    pub(super) fn ask_for_whom(&self, caller: Caller, reserved: Option<Admitted>, handshake: Handshake) {
        if !self.listener().is_proxy(caller.peer) {
            return self.refuse(caller, Refusal::NotAProxy);
        }
        let door = self.clone();
        tokio::task::spawn_local(async move {
            let local = Rc::clone(door.host().local());
            let ended = local.drain.clone();
            let asking = async move {
                tokio::select! {
                    biased;
                    () = door.let_in_for_another(caller, reserved, handshake) => {}
                    // Nobody who has not said who they are is within a message.
                    () = ended.cancelled() => {}
                }
            };
            local.unless_handed_on(asking).await;
        });
    }

    async fn let_in_for_another(self, caller: Caller, reserved: Option<Admitted>, handshake: Handshake) {
        let Caller { socket, peer, .. } = caller;
        let header = match self.listener().policy.handshake_timeout {
            Some(limit) => timeout(limit, header(&socket)).await.unwrap_or(TOO_LATE),
            None => header(&socket).await,
        };
        match header {
            Ok(header) => {
                let (peer, named) = match header.says {
                    Proxied::Client(client) => (PeerAddr::Ip(client), Named::Client),
                    Proxied::Local => (peer, Named::Proxy),
                    Proxied::Unknown => (peer, Named::Nobody),
                    Proxied::Unix => (peer, Named::Local),
                };
                let via = Via::new(caller.peer, named);
                let header_len = u16::try_from(header.len).unwrap_or(u16::MAX);
                let by_proxy = Some(Box::new(ByProxy { via, header_len }));
                self.decide(Caller { socket, peer, by_proxy }, reserved, Some(handshake));
            }
            Err(Nobody::Refused(refusal)) => {
                // Whoever hears of it finds the place free.
                drop(handshake);
                self.refuse(Caller::new(socket, peer), refusal);
            }
            Err(Nobody::Gone(error)) => {
                self.host().local().emit(&Event::AcceptFailed { cause: describe(&error).into() });
            }
        }
    }
}

const TOO_LATE: Result<Header, Nobody> = Err(Nobody::Refused(Refusal::ProxyHeaderTimeout));

/// Waits until the whole header is there. Cancel-safe.
async fn header(socket: &OwnedFd) -> Result<Header, Nobody> {
    // Most proxies have sent it by now.
    if let Some(header) = look(socket)? {
        return Ok(header);
    }
    let socket = socket::watch(socket).map_err(Nobody::Gone)?;
    loop {
        let mut readable = socket.readable().await.map_err(Nobody::Gone)?;
        let is_all = readable.ready().is_read_closed();
        match look(readable.get_inner())? {
            Some(header) => return Ok(header),
            None if is_all => return Err(Nobody::Refused(Refusal::ProxyHeaderTruncated)),
            // What is there stays there; only more of it is news.
            None => readable.clear_ready(),
        }
    }
}

/// Looks at what is there; none if more has to come.
fn look(socket: &impl AsFd) -> Result<Option<Header>, Nobody> {
    let mut bytes = [0; HEADER_MAX];
    match socket::peek(socket, &mut bytes) {
        Ok(0) => Err(Nobody::Refused(Refusal::NoProxyHeader)),
        Ok(count) => match parse(&bytes[..count]) {
            Ok(Parsed::Complete(header)) => Ok(Some(header)),
            Ok(Parsed::Incomplete) => Ok(None),
            Err(error) => Err(Nobody::Refused(refusal(error))),
        },
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(Nobody::Gone(error.into())),
    }
}

fn refusal(error: HeaderError) -> Refusal {
    match error {
        HeaderError::Missing => Refusal::NoProxyHeader,
        HeaderError::TooLong => Refusal::ProxyHeaderTooLong,
        HeaderError::Malformed => Refusal::ProxyHeaderMalformed,
        HeaderError::WrongChecksum => Refusal::ProxyHeaderChecksum,
        HeaderError::Unsupported => Refusal::ProxyHeaderUnsupported,
    }
}
