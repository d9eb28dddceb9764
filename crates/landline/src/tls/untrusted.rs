//! What callers say before anything is known of them.

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;

use super::engine::{Engine, Sink};
use super::{Tls, self_signed};
use crate::buffer::Pool;

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    fault: Option<Box<str>>,
    is_open: bool,
    is_answered: bool,
}

/// Has a listener hear a stream in pieces of these sizes, over and over, or in one.
pub(crate) fn hear(stream: &[u8], steps: &[u8]) -> Heard {
    let pool = Pool::new(None);
    let mut engine = Engine::new(Arc::clone(rules()), pool.clone());
    let mut steps = steps.iter().map(|step| usize::from(*step) + 1).cycle();
    let mut rest = stream;
    while !rest.is_empty() && engine.fault.is_none() {
        let (piece, later) = rest.split_at(steps.next().unwrap_or(rest.len()).min(rest.len()));
        engine.incoming.room(&pool, piece.len())[..piece.len()].copy_from_slice(piece);
        engine.received(piece.len(), &mut Sink(None));
        rest = later;
    }
    let fault = engine.fault.take().map(|fault| fault.words);
    Heard { fault, is_open: engine.is_open, is_answered: !engine.outgoing.is_empty() }
}

/// Those of a listener with a certificate of its own.
fn rules() -> &'static Arc<ServerConfig> {
    static TLS: OnceLock<Tls> = OnceLock::new();
    let tls = TLS.get_or_init(|| {
        let made = self_signed(["localhost"]).expect("a certificate can be made");
        Tls::builder().identity(&made.certificate, &made.key).build().expect("it is in order")
    });
    tls.rules()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_a_program_has_sent_is_answered_however_it_comes() {
        for name in ["openssl-1.2", "openssl-1.3", "rustls"] {
            let path = format!("{}/../../fuzz/corpus/hello/{name}", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(path).unwrap();
            for steps in [&[][..], &[0], &[6, 100]] {
                let heard = hear(&bytes[4..], steps);
                assert_eq!((heard.fault, heard.is_open, heard.is_answered), (None, false, true), "{name}");
            }
        }
    }
}
