//! A chat: what one says, all others hear. Messages are pushed from whichever thread the speaker is on.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use landline::{Framing, Outcome, Peer, Reply, Sender, Server, framed, session};

#[derive(Clone, Default)]
struct Room(Arc<Mutex<HashMap<u64, Sender>>>);

/// A seat in the room; leaving the chat gives it up.
struct Seat(Room, u64);

impl Room {
    fn enter(&self, id: u64, sender: Sender) -> Seat {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        self.tell_others(id, b"(joined)");
        Seat(self.clone(), id)
    }

    fn tell_others(&self, speaker: u64, words: &[u8]) {
        let line = [format!("{speaker}: ").as_bytes(), words].concat();
        let mut room = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads so slowly that the queue is full misses this line, and holds nobody up.
        for (_, sender) in room.iter_mut().filter(|(id, _)| **id != speaker) {
            let _ = sender.send(&line);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
        self.0.tell_others(self.1, b"(left)");
    }
}

fn main() -> Outcome {
    let room = Room::default();
    let chat = session(
        move |peer: &Peer, reply: &mut Reply| {
            reply.send(format!("you are {}", peer.id()).as_bytes());
            Ok(room.enter(peer.id(), peer.sender()))
        },
        async |seat: &mut Seat, words: &[u8], _: &mut Reply| {
            seat.0.tell_others(seat.1, words);
            Ok(())
        },
    );
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addr());
    let _ = server.serve(framed(Framing::Line, chat)).run()?;
    Ok(())
}
