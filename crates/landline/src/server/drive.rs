//! Drives one connection: the handler, what it was ordered from outside, and the farewell.

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::connection::Connection;
use super::handler::Handler;
use super::link::{Link, Order};
use super::table::Phase;
use crate::buffer::Pool;
use crate::close::{CloseReason, Farewell};
use crate::error::Outcome;
use crate::event::StepKind;
use crate::tls::HandshakeFault;

/// How long a farewell waits for the peer to end its side.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// How much a farewell reads away, in bytes, before it gives up on a peer that goes on sending.
const FAREWELL_BYTES: usize = 1 << 20;
/// How often it asks whether the last bytes have arrived, when that is all it waits for.
const ARRIVAL_CHECK: Duration = Duration::from_millis(10);
/// How much it reads at a time, in bytes.
const SCRAP: usize = 16 << 10;

/// How a supervised future ended.
enum Ended<T> {
    Returned(T),
    Ordered(CloseReason),
    HandedOn,
    Panicked(Box<dyn Any + Send>),
}

/// Serves one connection to its end, with exactly one close reason.
#[expect(clippy::manual_async_fn, reason = "an async function would keep its arguments twice")]
pub(crate) fn drive<H: Handler>(handler: impl Deref<Target = H>, link: Rc<Link>) -> impl Future<Output = ()> {
    async move {
        if open(&link).await {
            let handling = pin!(handler.handle(Connection::new(Rc::clone(&link))));
            match supervise(&link, handling).await {
                Ended::Returned(outcome) => settle(&link, outcome),
                Ended::Ordered(reason) => link.settle(reason),
                Ended::HandedOn => link.hand_on(),
                Ended::Panicked(payload) => {
                    link.settle_with(CloseReason::HandlerPanicked, panic_words(&*payload));
                }
            }
        }
        match link.reason().map(CloseReason::farewell) {
            Some(Farewell::Linger) if !link.peer_has_ended() => {
                link.restart(Phase::Closing);
                // On the heap: while the handler runs, no room is kept for it.
                let mut farewell = Box::pin(tokio::time::timeout(FAREWELL_TIME, linger(&link)));
                // Its outcome does not matter: what had to be said is said.
                let _ = supervise(&link, farewell.as_mut()).await;
            }
            Some(Farewell::Reset) => link.reset_on_close(),
            // The peer has ended its side, and everything was said to it.
            Some(Farewell::Linger) => link.say_goodbye(),
            _ if link.reason() == Some(CloseReason::PeerClosed) => link.say_goodbye(),
            _ => {}
        }
    }
}

/// What comes before a handler has the connection; false if that is not to be.
async fn open(link: &Link) -> bool {
    let Some(tls) = link.tls() else { return true };
    link.restart(Phase::Opening);
    let handshake = poll_fn(|cx| match (tls.poll_handshake(cx), link.has_to_end()) {
        // It has said nothing yet, and what has come of its handshake was looked at.
        (Poll::Pending, Some(reason)) if !link.has_unread() => Poll::Ready(Err(Handshake::Over(reason))),
        (outcome, _) => outcome.map_err(Handshake::Failed),
    });
    // On the heap: while the handler runs, no room is kept for it.
    let mut handshake = Box::pin(handshake);
    match supervise(link, handshake.as_mut()).await {
        Ended::Returned(Ok(())) => {
            link.tell(|| StepKind::Secured);
            link.restart(Phase::Idle);
            return true;
        }
        Ended::Returned(Err(Handshake::Over(reason))) | Ended::Ordered(reason) => link.settle(reason),
        Ended::Returned(Err(Handshake::Failed(HandshakeFault::Io(error)))) => {
            link.settle(CloseReason::of(&error));
        }
        Ended::Returned(Err(Handshake::Failed(HandshakeFault::Tls(fault)))) => {
            link.settle_with(CloseReason::HandshakeFailed, fault.into());
        }
        Ended::HandedOn => link.hand_on(),
        Ended::Panicked(payload) => link.settle_with(CloseReason::HandlerPanicked, panic_words(&*payload)),
    }
    false
}

/// Why a handshake did not come to its end.
enum Handshake {
    Failed(HandshakeFault),
    Over(CloseReason),
}

fn settle(link: &Link, outcome: Outcome) {
    match outcome {
        // The connection's own failure, passed on by the handler: it is known already, and its words add
        // nothing.
        Err(error) if error.is::<io::Error>() && link.reason().is_some() => {}
        Err(error) => link.settle_with(CloseReason::HandlerFailed, error.to_string()),
        Ok(()) if link.peer_has_ended() => link.settle(CloseReason::PeerClosed),
        Ok(()) => link.settle(link.has_to_end().unwrap_or(CloseReason::ServerClosed)),
    }
}

/// Polls a future until it is done, panics, or the connection is ordered to end. (It borrows the future: one
/// that is passed by value is kept twice.)
fn supervise<F: Future>(link: &Link, mut future: Pin<&mut F>) -> impl Future<Output = Ended<F::Output>> {
    poll_fn(move |cx| {
        match link.orders(cx) {
            None => {}
            Some(Order::End(reason)) => return Poll::Ready(Ended::Ordered(reason)),
            Some(Order::HandOn) if link.local().has_parted() => return Poll::Ready(Ended::HandedOn),
            Some(Order::HandOn) => {
                link.hand_on();
                return Poll::Pending;
            }
        }
        let pulse = link.local().pulse();
        if let Some(pulse) = pulse {
            pulse.serve(link.peer.descriptor());
        }
        // What the handler shares with other connections is its own to keep consistent; ours is not touched
        // half-way by its code.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        if let Some(pulse) = pulse {
            pulse.rest();
        }
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ended::Returned(output)),
            Err(payload) => Poll::Ready(Ended::Panicked(payload)),
        }
    })
}

/// Ends our side and reads away what the peer still sends, until it ends its side too. A close with unread
/// input would be a reset, which can destroy the last reply on its way.
async fn linger(link: &Link) {
    // Asked before our side ends: its FIN would count as something that has not arrived.
    let arrived = link.all_acknowledged();
    if poll_fn(|cx| link.poll_shutdown(cx)).await.is_err() {
        return;
    }
    let reading = read_away(&link.local().pool, |cx, buffer| link.poll_receive(cx, buffer));
    if !link.reason().is_some_and(CloseReason::is_at_rest) {
        return reading.await;
    }
    // Nobody at a silent prompt is waited for: it is over as soon as nothing of ours is on its way.
    if !arrived {
        tokio::select! {
            () = reading => {}
            () = all_arrived(link) => {}
        }
    }
}

/// Completes when the peer has acknowledged everything, our FIN included.
async fn all_arrived(link: &Link) {
    while !link.all_acknowledged() {
        tokio::time::sleep(ARRIVAL_CHECK).await;
    }
}

/// Reads and forgets, until the peer ends its side or has sent too much. While it waits it holds no buffer.
pub(crate) async fn read_away(
    pool: &Rc<Pool>,
    mut poll_receive: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<usize>>,
) {
    let mut left = FAREWELL_BYTES;
    poll_fn(|cx| {
        let mut scrap = pool.take(SCRAP);
        while left > 0 {
            let mut buffer = ReadBuf::new(scrap.room());
            match ready!(poll_receive(cx, &mut buffer)) {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                Ok(0) | Err(_) => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

fn panic_words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
