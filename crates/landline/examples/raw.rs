//! A handler of the first level: it owns the whole connection and speaks a protocol of its own. Here: a clock
//! that ticks until its caller has heard enough, or the server drains.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::time::Duration;

use landline::{Connection, Outcome, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn tick(mut conn: Connection) -> Outcome {
    let draining = conn.draining();
    tokio::pin!(draining);
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    let mut word = [0; 64];
    for ticks in 1.. {
        tokio::select! {
            _ = clock.tick() => conn.write_all(format!("tick {ticks}\n").as_bytes()).await?,
            said = conn.read(&mut word) => if said? == 0 { break },
            () = &mut draining => {
                conn.write_all(b"the clock stops\n").await?;
                break;
            }
        }
    }
    Ok(())
}

fn main() -> Outcome {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addr());
    let _ = server.serve(tick).run()?;
    Ok(())
}
