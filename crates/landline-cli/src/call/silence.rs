//! When our side of TLS can end without harm.
//!
//! Many servers take the end of TLS for a caller who is gone, or close with it unread, which resets the
//! connection: either way what they were still sending is lost. Without TLS the end is a FIN, which is no
//! byte to leave unread. So with TLS our side is kept open as long as the server talks, or may be about to.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long a server that has answered has to be silent until it is taken to have said everything.
const AFTER_AN_ANSWER: Duration = Duration::from_secs(1);

/// How long one that has not may think.
const WITHOUT_AN_ANSWER: Duration = Duration::from_secs(10);

/// Who has spoken when.
#[derive(Debug)]
pub(super) struct Silence {
    said: Cell<Instant>,
    heard: Cell<Option<Instant>>,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { said: Cell::new(Instant::now()), heard: Cell::default() }
    }

    /// We have said something, to which there may be an answer.
    pub(super) fn said(&self) {
        self.said.set(Instant::now());
        self.heard.set(None);
    }

    pub(super) fn heard(&self) {
        self.heard.set(Some(Instant::now()));
    }

    /// Waits until the server has said everything, as far as its silence tells. Cancel safe.
    pub(super) async fn falls(&self) {
        loop {
            let until = match self.heard.get() {
                Some(heard) => heard + AFTER_AN_ANSWER,
                None => self.said.get() + WITHOUT_AN_ANSWER,
            };
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn it_falls_a_second_after_the_last_word_or_ten_after_a_question() {
        runtime().block_on(async {
            let (silence, begun) = (Silence::new(), Instant::now());
            silence.falls().await;
            assert_eq!(begun.elapsed().as_secs(), 10);
            silence.said();
            let talks = async {
                for _ in 0..5 {
                    tokio::time::sleep(Duration::from_millis(900)).await;
                    silence.heard();
                }
            };
            let begun = Instant::now();
            tokio::join!(silence.falls(), talks);
            // The first answer came within the ten seconds, and five pauses were not long enough.
            assert!(begun.elapsed() >= Duration::from_millis(4500 + 1000), "{:?}", begun.elapsed());
        });
    }
}
