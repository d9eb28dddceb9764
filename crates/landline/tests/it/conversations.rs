//! One connection at a time, without a network.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use bytes::BufMut;
use landline::testing::{Transcript, converse, converse_with};
use landline::{
    CloseReason, Connection, Echo, Event, Framing, Handler, Outcome, Peer, Policy, Reply, Upper, framed,
    service, session,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Says something, ends, and returns all that came back.
async fn ask(caller: &mut DuplexStream, words: &[u8]) -> Vec<u8> {
    caller.write_all(words).await.unwrap();
    caller.shutdown().await.unwrap();
    let mut heard = Vec::new();
    caller.read_to_end(&mut heard).await.unwrap();
    heard
}

async fn answers(handler: impl Handler, words: &[u8]) -> (Vec<u8>, Transcript) {
    let heard = Cell::new(Vec::new());
    let transcript = converse(handler, async |mut caller| heard.set(ask(&mut caller, words).await)).await;
    (heard.take(), transcript)
}

fn closed(transcript: &Transcript) -> (CloseReason, u64, Option<&str>) {
    let closed = transcript.events().iter().find_map(|event| match event {
        Event::Closed { reason, messages, detail, .. } => Some((*reason, *messages, detail.as_deref())),
        _ => None,
    });
    closed.expect("the connection has ended")
}

#[tokio::test(start_paused = true)]
async fn upper_changes_ascii_letters_and_passes_every_other_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let (heard, transcript) = answers(framed(Framing::Raw, Upper), &every_byte).await;
    assert_eq!(heard, every_byte.to_ascii_uppercase());
    assert_eq!(closed(&transcript), (CloseReason::PeerClosed, 1, None));
}

#[tokio::test(start_paused = true)]
async fn a_reply_gets_the_ending_of_its_message_and_a_remainder_has_none() {
    let (heard, transcript) = answers(framed(Framing::Line, Upper), b"one\ntwo\r\n\nthree").await;
    assert_eq!(heard, b"ONE\nTWO\r\n\nTHREE");
    assert_eq!(closed(&transcript), (CloseReason::PeerClosed, 4, None));
}

#[tokio::test(start_paused = true)]
async fn length_prefixed_messages_are_answered_with_their_lengths() {
    let (heard, _) = answers(framed(Framing::Length, Upper), b"\0\0\0\x02hi\0\0\0\0\0\0\0\x01!").await;
    assert_eq!(heard, b"\0\0\0\x02HI\0\0\0\0\0\0\0\x01!");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_within_a_length_prefixed_message_is_truncated() {
    let (heard, transcript) = answers(framed(Framing::Length, Echo), b"\0\0\0\x02hi\0\0\0\x09never").await;
    assert_eq!(heard, b"\0\0\0\x02hi", "what was complete is answered");
    assert_eq!(closed(&transcript).0, CloseReason::MessageTruncated);
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_ends_the_connection_after_those_before_it_are_answered() {
    let mut policy = Policy::default();
    policy.max_message = 5;
    let transcript = converse_with(policy, framed(Framing::Line, Upper), async |mut caller| {
        assert_eq!(ask(&mut caller, b"12345\n123456\nnever\n").await, b"12345\n");
    })
    .await;
    let (reason, messages, detail) = closed(&transcript);
    assert_eq!((reason, messages), (CloseReason::MessageTooLong, 1));
    assert_eq!(detail, Some("a message longer than 5 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_byte_by_byte_is_one_message() {
    let transcript = converse(framed(Framing::Line, Upper), async |mut caller| {
        for byte in b"slowly\n" {
            caller.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut heard = [0; 7];
        caller.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"SLOWLY\n");
    })
    .await;
    assert_eq!(closed(&transcript).1, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_far_larger_than_a_read_come_back_whole() {
    let mut stream = Vec::new();
    for size in [0_usize, 1, 100_000, 1 << 20, 300_000] {
        stream.put_u32(u32::try_from(size).unwrap());
        stream.extend((0..size).map(|i| b'a' + u8::try_from(i % 26).unwrap()));
    }
    let expected: Vec<u8> = stream.clone();
    let transcript = converse(framed(Framing::Length, Echo), async |caller| {
        let (mut reader, mut writer) = tokio::io::split(caller);
        let mut heard = Vec::new();
        let sending = async {
            writer.write_all(&stream).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        tokio::join!(sending, async { reader.read_to_end(&mut heard).await.unwrap() });
        assert!(heard == expected);
    })
    .await;
    assert_eq!(closed(&transcript), (CloseReason::PeerClosed, 5, None));
}

#[tokio::test(start_paused = true)]
async fn a_session_belongs_to_its_connection_and_need_not_be_send() {
    let counter = session(
        |peer: &Peer, reply: &mut Reply| {
            reply.send(format!("caller {}", peer.id()).as_bytes());
            Ok(Rc::new(Cell::new(0)))
        },
        async |count: &mut Rc<Cell<u32>>, _: &[u8], reply: &mut Reply| {
            count.set(count.get() + 1);
            tokio::task::yield_now().await;
            write!(reply, "{}", count.get())?;
            Ok(())
        },
    );
    let (heard, _) = answers(framed(Framing::Line, counter), b"a\nb\nc\n").await;
    assert_eq!(heard, b"caller 1\n1\n2\n3\n");
}

#[tokio::test(start_paused = true)]
async fn a_service_may_answer_with_no_reply_or_with_several() {
    let many = service(async |message: &[u8], reply: &mut Reply| {
        for word in message.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
            reply.send(word);
        }
        Ok(())
    });
    let (heard, transcript) = answers(framed(Framing::Line, many), b"a b\n\nc\n").await;
    assert_eq!(heard, b"a\nb\nc\n");
    assert_eq!(closed(&transcript).1, 3);
}

#[tokio::test(start_paused = true)]
async fn a_reply_can_be_built_in_pieces_by_any_encoder() {
    let pieces = service(async |message: &[u8], reply: &mut Reply| {
        write!(reply, "{}:", message.len())?;
        reply.writer().put_slice(message);
        for _ in 0..1000 {
            reply.writer().put_u32(0x6162_6364);
        }
        Ok(())
    });
    let (heard, _) = answers(framed(Framing::Length, pieces), b"\0\0\0\x02hi").await;
    assert_eq!(&heard[..8], b"\0\0\x0f\xa42:hi");
    assert_eq!(&heard[8..], b"abcd".repeat(1000));
}

#[tokio::test(start_paused = true)]
async fn close_sends_what_was_said_and_answers_nothing_after_it() {
    let once = service(async |message: &[u8], reply: &mut Reply| {
        reply.send(message);
        reply.close();
        Ok(())
    });
    let (heard, transcript) = answers(framed(Framing::Line, once), b"first\nsecond\n").await;
    assert_eq!(heard, b"first\n");
    assert_eq!(closed(&transcript), (CloseReason::ServerClosed, 1, None));
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_the_connection_after_the_replies_before_it_and_is_reported() {
    let failing = service(async |message: &[u8], reply: &mut Reply| {
        if message == b"bad" {
            write!(reply, "half an ans")?;
            return Err("the backend is gone".into());
        }
        reply.send(message);
        Ok(())
    });
    let (heard, transcript) = answers(framed(Framing::Line, failing), b"good\nbad\nnever\n").await;
    assert_eq!(heard, b"good\n");
    assert_eq!(closed(&transcript), (CloseReason::HandlerFailed, 1, Some("the backend is gone")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_opening_still_says_its_words() {
    let picky = session(
        |_: &Peer, reply: &mut Reply| {
            reply.send(b"not today");
            Err::<(), _>("refused".into())
        },
        async |(): &mut (), _: &[u8], _: &mut Reply| Ok(()),
    );
    let (heard, transcript) = answers(framed(Framing::Line, picky), b"hello\n").await;
    assert_eq!(heard, b"not today\n");
    assert_eq!(closed(&transcript), (CloseReason::HandlerFailed, 0, Some("refused")));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_close_reason_with_its_words() {
    let panicking = service(async |message: &[u8], _: &mut Reply| -> Outcome {
        panic!("cannot stand {}", message.len())
    });
    let (heard, transcript) = answers(framed(Framing::Line, panicking), b"x\n").await;
    assert!(heard.is_empty());
    assert_eq!(closed(&transcript), (CloseReason::HandlerPanicked, 0, Some("cannot stand 1")));
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_flushed_in_pieces_waits_for_its_reader() {
    let stream = service(async |_: &[u8], reply: &mut Reply| {
        for number in 0..1000 {
            reply.send(format!("{number:0>1000}").as_bytes());
            reply.flush().await?;
        }
        Ok(())
    });
    let (heard, transcript) = answers(framed(Framing::Line, stream), b"go\n").await;
    assert_eq!((heard.len(), heard.split(|byte| *byte == b'\n').count()), (1_001_000, 1001));
    assert_eq!(closed(&transcript).0, CloseReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_handler_owns_its_whole_connection() {
    let handler = async |mut conn: Connection| {
        conn.write_all(b"who? ").await?;
        let mut name = [0; 3];
        conn.read_exact(&mut name).await?;
        conn.write_all(&name).await?;
        Ok(())
    };
    let transcript = converse(handler, async |mut caller| {
        caller.write_all(b"ann and more that nobody reads").await.unwrap();
        let mut heard = String::new();
        caller.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "who? ann");
    })
    .await;
    assert_eq!(closed(&transcript), (CloseReason::ServerClosed, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_does_not_wait_for_ever_for_a_peer_that_stays() {
    let handler = async |mut conn: Connection| {
        conn.write_all(b"bye").await?;
        Ok(())
    };
    let before = tokio::time::Instant::now();
    converse(handler, async |mut caller| {
        let mut heard = String::new();
        caller.read_to_string(&mut heard).await.unwrap();
        // Our end stays open for much longer than a farewell may take.
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(caller.write_all(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    })
    .await;
    assert!(before.elapsed() < Duration::from_secs(101));
}
