//! A session: each connection counts its own messages.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io::Write;

use landline::{Framing, Outcome, Peer, Reply, Server, framed, session};

fn main() -> Outcome {
    let counter = session(
        |peer: &Peer, reply: &mut Reply| {
            write!(reply, "you are caller {}", peer.id())?;
            Ok(0_u64)
        },
        async |count: &mut u64, message: &[u8], reply: &mut Reply| {
            *count += 1;
            write!(reply, "{count}: {} bytes", message.len())?;
            Ok(())
        },
    );
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addr());
    let _ = server.serve(framed(Framing::Line, counter)).run()?;
    Ok(())
}
