//! The time limits, with paused time.

use std::time::Duration;

use landline::testing::{Transcript, converse_with};
use landline::{
    CloseReason, Connection, Echo, Framing, Outcome, Peer, Policy, Reply, Upper, framed, service, session,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(5);

fn limited(set: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    set(&mut policy);
    policy
}

/// Lets somebody talk to `upper` under a limit, and says when and why it ended.
async fn timed(policy: Policy, caller: impl AsyncFnOnce(tokio::io::DuplexStream)) -> (Transcript, Duration) {
    let start = Instant::now();
    let transcript = converse_with(policy, framed(Framing::Line, Upper), caller).await;
    (transcript, start.elapsed())
}

/// A limit is never early, and at most two rounds of the sweep late; a round is a tenth of the shortest
/// limit.
fn is_on_time(elapsed: Duration, limit: Duration) -> bool {
    elapsed >= limit && elapsed <= limit + limit / 5 + Duration::from_secs(1)
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_message_is_cut_at_its_limit_however_often_a_byte_comes() {
    let policy = limited(|policy| policy.message_timeout = Some(LIMIT));
    let (transcript, elapsed) = timed(policy, async |mut caller| {
        while caller.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::MessageTimeout);
    assert!(is_on_time(elapsed, LIMIT), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn each_message_has_its_own_time() {
    let policy = limited(|policy| policy.message_timeout = Some(LIMIT));
    let (transcript, _) = timed(policy, async |mut caller| {
        for _ in 0..20 {
            caller.write_all(b"be").await.unwrap();
            sleep(LIMIT * 3 / 5).await;
            caller.write_all(b"gun\n").await.unwrap();
            let mut heard = [0; 6];
            caller.read_exact(&mut heard).await.unwrap();
        }
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn an_idle_caller_is_not_cut_by_default() {
    let (transcript, _) = timed(Policy::default(), async |mut caller| {
        sleep(Duration::from_secs(2 * 3600)).await;
        caller.write_all(b"still here\n").await.unwrap();
        let mut heard = [0; 11];
        caller.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"STILL HERE\n");
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn an_idle_limit_counts_from_the_last_message() {
    let policy = limited(|policy| policy.idle_timeout = Some(LIMIT));
    let (transcript, elapsed) = timed(policy, async |mut caller| {
        for _ in 0..4 {
            caller.write_all(b"hi\n").await.unwrap();
            sleep(LIMIT / 2).await;
        }
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"HI\nHI\nHI\nHI\n");
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::IdleTimeout);
    assert!(is_on_time(elapsed, LIMIT * 5 / 2), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_and_one_that_takes_a_little_is_not() {
    let policy = limited(|policy| policy.write_timeout = Some(LIMIT));
    let flood = || {
        framed(
            Framing::Raw,
            service(async |_: &[u8], reply: &mut Reply| -> Outcome {
                reply.send(&vec![b'x'; 200_000]);
                Ok(())
            }),
        )
    };
    let start = Instant::now();
    let stuck = converse_with(policy.clone(), flood(), async |mut caller| {
        caller.write_all(b"go").await.unwrap();
        sleep(LIMIT * 3).await;
    })
    .await;
    assert_eq!(stuck.reason(), CloseReason::WriteTimeout);
    assert!(start.elapsed() < LIMIT * 4);

    let slow = converse_with(policy, flood(), async |mut caller| {
        caller.write_all(b"go").await.unwrap();
        let mut some = [0; 10_000];
        for _ in 0..20 {
            sleep(LIMIT * 3 / 5).await;
            caller.read_exact(&mut some).await.unwrap();
        }
    })
    .await;
    assert_eq!(slow.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_its_time_is_under_no_limit() {
    let policy = limited(|policy| {
        policy.message_timeout = Some(LIMIT);
        policy.idle_timeout = Some(LIMIT);
        policy.write_timeout = Some(LIMIT);
    });
    let slow = service(async |message: &[u8], reply: &mut Reply| {
        sleep(LIMIT * 10).await;
        reply.send(message);
        Ok(())
    });
    let transcript = converse_with(policy, framed(Framing::Line, slow), async |mut caller| {
        caller.write_all(b"wait\n").await.unwrap();
        let mut heard = [0; 5];
        caller.read_exact(&mut heard).await.unwrap();
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_the_first_level_is_under_the_same_limits() {
    let reads = async |mut conn: Connection| {
        let mut byte = [0];
        while conn.read(&mut byte).await? > 0 {}
        Ok(())
    };
    let policy = limited(|policy| policy.idle_timeout = Some(LIMIT));
    let idle = converse_with(policy, reads, async |mut caller| {
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).await.unwrap();
    })
    .await;
    assert_eq!(idle.reason(), CloseReason::IdleTimeout);

    let writes = async |mut conn: Connection| {
        conn.write_all(&vec![0; 1_000_000]).await?;
        Ok(())
    };
    let policy = limited(|policy| policy.write_timeout = Some(LIMIT));
    let stuck = converse_with(policy, writes, async |caller| {
        sleep(LIMIT * 3).await;
        drop(caller);
    })
    .await;
    assert_eq!(stuck.reason(), CloseReason::WriteTimeout);
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_ever_cut() {
    let policy = limited(|policy| {
        policy.message_timeout = None;
        policy.write_timeout = None;
    });
    let transcript = converse_with(policy, framed(Framing::Line, Echo), async |mut caller| {
        caller.write_all(b"half").await.unwrap();
        sleep(Duration::from_secs(2 * 3600)).await;
        caller.write_all(b" and half\n").await.unwrap();
        let mut heard = [0; 14];
        caller.read_exact(&mut heard).await.unwrap();
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_thinks_after_a_slow_flush_is_not_taken_for_a_slow_reader() {
    let policy = limited(|policy| policy.write_timeout = Some(LIMIT));
    let thinker = service(async |_: &[u8], reply: &mut Reply| {
        reply.send(&vec![b'x'; 200_000]);
        reply.flush().await?;
        sleep(LIMIT * 10).await;
        reply.send(b"thought");
        Ok(())
    });
    let transcript = converse_with(policy, framed(Framing::Line, thinker), async |mut caller| {
        caller.write_all(b"go\n").await.unwrap();
        sleep(LIMIT / 2).await;
        let mut heard = vec![0; 200_001 + 8];
        caller.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard[200_001..], b"thought\n");
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_only_listens_is_not_idle_while_something_is_pushed_to_it() {
    let policy = limited(|policy| policy.idle_timeout = Some(LIMIT));
    let (senders, found) = std::sync::mpsc::sync_channel(1);
    let listening = session(
        move |peer: &Peer, _: &mut Reply| Ok(senders.send(peer.sender())?),
        async |(): &mut (), _: &[u8], _: &mut Reply| Ok(()),
    );
    let transcript = converse_with(policy, framed(Framing::Line, listening), async |mut caller| {
        tokio::task::yield_now().await;
        let sender = found.recv().unwrap();
        let mut heard = [0; 5];
        for _ in 0..10 {
            sleep(LIMIT * 3 / 5).await;
            sender.send(b"news").unwrap();
            caller.read_exact(&mut heard).await.unwrap();
        }
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_whole_connection_can_have_a_limit_however_busy_it_is() {
    let policy = limited(|policy| policy.max_connection_time = Some(LIMIT));
    let (transcript, elapsed) = timed(policy, async |mut caller| {
        let mut heard = [0; 3];
        while caller.write_all(b"hi\n").await.is_ok() && caller.read_exact(&mut heard).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::ConnectionTimeout);
    assert!(is_on_time(elapsed, LIMIT), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_at_a_message_boundary_and_not_within_a_message() {
    let policy = limited(|policy| policy.max_connection_age = Some(LIMIT));
    let (transcript, elapsed) = timed(policy, async |mut caller| {
        caller.write_all(b"half").await.unwrap();
        sleep(LIMIT * 2).await;
        caller.write_all(b" and half\nmore\n").await.unwrap();
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"HALF AND HALF\nMORE\n");
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::Retired);
    assert!(elapsed < LIMIT * 3);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_the_first_level_is_told_when_its_connection_is_old() {
    let handler = async |mut conn: Connection| {
        conn.draining().await;
        conn.write_all(b"time to go").await?;
        Ok(())
    };
    let policy = limited(|policy| policy.max_connection_age = Some(LIMIT));
    let transcript = converse_with(policy, handler, async |mut caller| {
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"time to go");
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::Retired);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_in_is_cut_long_before_its_time() {
    let policy = limited(|policy| {
        policy.message_timeout = Some(LIMIT * 100);
        policy.min_receive_rate = std::num::NonZeroU32::new(10);
    });
    let (transcript, elapsed) = timed(policy, async |mut caller| {
        while caller.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    assert_eq!(transcript.reason(), CloseReason::TooSlow);
    assert!(elapsed < LIMIT * 2, "{elapsed:?}");
}
