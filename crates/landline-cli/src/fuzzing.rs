//! What a fuzzer calls.

use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use landline::{Connection, Monitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, LocalOptions};

use crate::control::router;
use crate::side_door::answer_one;

/// More than a request may be, and more than any answer is.
const ROOM: usize = 256 << 10;
/// Longer than a connection to the control socket lasts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the control socket of a server that does not run, so that nothing can be started, hear this in pieces as
/// long as the first byte says, and returns what it answers.
///
/// # Panics
/// When it answers something that is not HTTP.
pub fn control(bytes: &[u8]) -> Vec<u8> {
    let (piece, request) =
        bytes.split_first().map_or((1, bytes), |(first, rest)| (usize::from(*first).max(1), rest));
    let mut runtime = Builder::new_current_thread();
    runtime.enable_time().start_paused(true);
    let runtime = runtime.build_local(LocalOptions::default()).expect("a runtime without I/O");
    let answer = runtime.block_on(async {
        let (mut ours, theirs) = duplex(ROOM);
        let connection = Connection::from_io(theirs).expect("memory for a connection");
        let service = TowerToHyperService::new(router(Monitor::default()));
        let answering = answer_one(connection, service);
        let asking = async {
            for piece in request.chunks(piece) {
                if ours.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // Who asks for something else than one whole request is waited for as long as the server does.
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, ours.read_to_end(&mut answer)).await;
            drop(ours);
            answer
        };
        tokio::join!(answering, asking).1
    });
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", answer.escape_ascii());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(request: &str, piece: u8) -> String {
        let bytes = [&[piece], request.as_bytes()].concat();
        String::from_utf8(control(&bytes)).unwrap()
    }

    #[test]
    fn the_control_socket_is_heard_whole_and_in_pieces() {
        for piece in [1, 7, 255] {
            let status = answers("GET /status HTTP/1.1\r\nHost: x\r\n\r\n", piece);
            assert!(status.starts_with("HTTP/1.1 200 OK\r\n") && status.contains("\"open\":0"), "{status}");
            assert!(answers("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", piece).starts_with("HTTP/1.1 404 "));
            assert!(answers("no HTTP\r\n\r\n", piece).starts_with("HTTP/1.1 400 "));
        }
        let upgrade = "POST /upgrades HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                       Content-Length: 26\r\n\r\n{\"binary\":\"/usr/bin/true\"}";
        assert!(answers(upgrade, 255).starts_with("HTTP/1.1 4"), "nothing is started");
    }

    #[test]
    fn what_fuzzers_have_found_worth_keeping_does_no_harm() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/control");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            control(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0);
    }
}
