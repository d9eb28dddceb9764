//! A client: asks a server one line after another and prints each answer. `ask 127.0.0.1:8081 hello world`
#![expect(clippy::print_stdout, reason = "the answers are its output")]

use landline::{Client, Outcome};

async fn ask(address: String, messages: impl Iterator<Item = String>) -> Outcome {
    let client = Client::connect(address).await?;
    for message in messages {
        let answer = client.ask(message).await?;
        println!("{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: ask ADDRESS MESSAGE...")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(address, arguments))
}
