//! Many tasks ask over one connection, which is made again when it is lost. `crowd 127.0.0.1:8081 20`
#![expect(clippy::print_stdout, reason = "the answers are its output")]

use std::time::Duration;

use landline::client::{Backoff, Options};
use landline::{Client, Outcome};
use tokio::task::JoinSet;

/// One of the crowd: asks three things. Each may be asked twice without harm.
async fn ask(client: Client, who: usize) -> Outcome<String> {
    let mut answers = Vec::new();
    for what in ["who are you", "how are you", "goodbye"] {
        let answer = client.ask_idempotent(format!("{what}, asks {who}")).await?;
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    Ok(answers.join(" / "))
}

async fn crowd(address: String, size: usize) -> Outcome {
    let options = Options::new()
        .in_flight_max(64)
        .ask_timeout(Some(Duration::from_secs(5)))
        .reconnect(Some(Backoff::new(Duration::from_millis(10), Duration::from_secs(1))));
    let client = options.connect(address).await?;
    let mut tasks = JoinSet::new();
    for who in 0..size {
        tasks.spawn(ask(client.clone(), who));
    }
    while let Some(answers) = tasks.join_next().await {
        println!("{}", answers??);
    }
    Ok(())
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: crowd ADDRESS SIZE")?;
    let size = arguments.next().unwrap_or_else(|| "20".to_owned()).parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crowd(address, size))
}
