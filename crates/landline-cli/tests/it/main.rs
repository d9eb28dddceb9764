//! The program, run as people run it, against servers as people write them.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is how to fail, in helpers too")]

mod call_once;
mod call_pipe;
mod call_prompt;
mod support;
mod terminal;
