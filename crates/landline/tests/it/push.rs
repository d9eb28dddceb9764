//! Messages that nobody asked for.

use std::sync::mpsc::sync_channel;

use landline::testing::converse;
use landline::{Framing, Outcome, Peer, PushError, Reply, Sender, framed, session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{PATIENCE, serve};

/// A service that hands out each connection's sender and echoes.
fn reachable(framing: Framing, found: impl Fn(Sender) + Send + Sync + 'static) -> impl landline::Handler {
    let echo = session(
        move |peer: &Peer, _: &mut Reply| {
            found(peer.sender());
            Ok(())
        },
        async |(): &mut (), message: &[u8], reply: &mut Reply| -> Outcome {
            reply.send(message);
            Ok(())
        },
    );
    framed(framing, echo)
}

#[test]
fn a_message_is_pushed_from_another_thread_and_framed_like_a_reply() {
    for (framing, expected) in [
        (Framing::Line, &b"news\nmore\n"[..]),
        (Framing::Length, b"\0\0\0\x04news\0\0\0\x04more"),
        (Framing::Raw, b"newsmore"),
    ] {
        let (senders, found) = sync_channel(1);
        let served = serve(|server| server, reachable(framing, move |sender| senders.send(sender).unwrap()));
        let mut caller = served.call();
        let sender = found.recv_timeout(PATIENCE).unwrap();
        sender.send(b"news").unwrap();
        sender.send(b"more").unwrap();
        caller.hear(expected);
        drop(caller);
        served.wait_for_close();
        assert!(sender.is_closed());
        assert_eq!(sender.send(b"late"), Err(PushError::Closed));
    }
}

#[test]
fn a_full_queue_is_a_verdict_and_never_a_wait() {
    let (senders, found) = sync_channel(1);
    let handler = reachable(Framing::Line, move |sender| senders.send(sender).unwrap());
    let served = serve(|server| server.max_unsent(10_000), handler);
    let caller = served.call();
    let sender = found.recv_timeout(PATIENCE).unwrap();
    // The caller does not read: the kernel's buffers fill, then the queue.
    let pushed = (0..1_000_000).take_while(|_| sender.send(&[b'x'; 999]).is_ok()).count();
    assert_eq!(sender.send(&[b'x'; 9_999]), Err(PushError::Full));
    let mut caller = caller;
    for _ in 0..pushed {
        caller.hear([&[b'x'; 999][..], b"\n"].concat());
    }
    assert_eq!(served.running().open_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn pushes_and_replies_never_mix_within_a_message() {
    let (senders, found) = sync_channel(1);
    let handler = reachable(Framing::Line, move |sender| senders.send(sender).unwrap());
    converse(handler, async |mut caller| {
        tokio::task::yield_now().await;
        let sender = found.try_recv().unwrap();
        for round in 0..100 {
            sender.send(b"pushed").unwrap();
            caller.write_all(b"asked\n").await.unwrap();
            sender.send(b"pushed").unwrap();
            let mut heard = [0; 20];
            caller.read_exact(&mut heard).await.unwrap();
            let mut lines: Vec<&[u8]> = heard.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort_unstable();
            assert_eq!(lines, [&b"asked\n"[..], b"pushed\n", b"pushed\n"], "in round {round}");
        }
    })
    .await;
}
