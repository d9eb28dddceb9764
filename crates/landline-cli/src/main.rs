//! The `landline` program.

mod args;
// Its loop is made of what only Linux has.
#[cfg(target_os = "linux")]
mod bench;
mod call;
mod config;
mod control;
mod ctl;
mod exit;
mod serve;
mod settings;
mod setup;
mod side_door;
mod terminal;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            // Help and version go to stdout and are no failure; a broken stdout is none either.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(1));
        }
    };
    args.color.apply();
    let done = match args.command {
        Command::Serve(args) => serve::run(&args),
        Command::Call(args) => call::run(&args),
        #[cfg(target_os = "linux")]
        Command::Bench(args) => bench::run(&args),
        Command::Ctl(args) => ctl::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
