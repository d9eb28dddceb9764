//! A server that answers each line in upper case. Talk to it with `landline call`.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use landline::{Framing, Outcome, Reply, Server, framed, service};

fn main() -> Outcome {
    let upper = service(async |message: &[u8], reply: &mut Reply| {
        reply.send(&message.to_ascii_uppercase());
        Ok(())
    });
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addr());
    let _ = server.serve(framed(Framing::Line, upper)).run()?;
    Ok(())
}
