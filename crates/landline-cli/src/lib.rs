//! What the `landline` program does. It is a library so that a fuzzer can reach what reads the network, and for
//! nobody else: nothing in it stays as it is.

mod args;
// Its loop is made of what only Linux has.
#[cfg(target_os = "linux")]
mod bench;
mod bundle;
mod call;
mod config;
mod control;
mod ctl;
mod escape;
mod exit;
mod expect;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod reference;
mod serve;
mod settings;
mod setup;
mod side_door;
mod terminal;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::Failure;

/// Does what the command line says.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            // Help and version go to stdout and are no failure; a broken stdout is none either.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(1));
        }
    };
    args.color.apply();
    let code = match args.command {
        Command::Serve(args) => serve::run(&args).unwrap_or_else(Failure::report),
        Command::Call(args) => Failure::code_of(call::run(&args)),
        #[cfg(target_os = "linux")]
        Command::Bench(args) => Failure::code_of(bench::run(&args)),
        Command::Ctl(args) => Failure::code_of(ctl::run(&args)),
        Command::Completions(args) => Failure::code_of(reference::complete(&args)),
        Command::Man(args) => Failure::code_of(reference::describe(&args)),
    };
    ExitCode::from(code)
}
