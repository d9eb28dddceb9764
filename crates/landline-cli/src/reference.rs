//! What is made of the definition of the command line: completions for shells, and man pages.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use landline::event::{Charset, escape};

use crate::args::Args;
use crate::exit::{Exit, Failure};

/// What `landline completions` was told.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArgs {
    /// For which shell: bash, zsh, fish, powershell or elvish
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
To have them in every new shell:
  bash        landline completions bash > ~/.local/share/bash-completion/completions/landline
  zsh         landline completions zsh > \"${fpath[1]}/_landline\"
  fish        landline completions fish > ~/.config/fish/completions/landline.fish
  powershell  landline completions powershell >> $PROFILE";

/// What `landline man` was told.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN_HELP)]
pub(crate) struct ManArgs {
    /// Of which command, as in 'call' or 'ctl list' [default: of the program]
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,

    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

const MAN_HELP: &str = "\
Examples:
  landline man | man -l -                 read the page of the program
  landline man call | man -l -            that of one command
  landline man --dir ~/.local/share/man/man1";

/// Prints completions.
pub(crate) fn complete(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    print(&text)
}

/// Prints a man page, or writes all of them.
pub(crate) fn describe(args: &ManArgs) -> Result<(), Failure> {
    match &args.dir {
        Some(dir) => write_all(dir),
        None => print(&page(find(&program(), &args.command)?).1),
    }
}

/// The program, in which every command knows its name with those of the commands above it.
fn program() -> Command {
    let mut program = Args::command();
    program.build();
    program
}

/// The command that these words name.
fn find<'a>(program: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    words.iter().try_fold(program, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let text = format!("there is no man page of '{}'", words.join(" ").escape_debug());
            Failure::new(Exit::Usage, text).hint(match &names[..] {
                [] => format!("'{}' has no commands of its own", command.get_name()),
                names => format!("the commands of {} are {}", command.get_name(), names.join(", ")),
            })
        })
    })
}

/// A page, with the name of its file.
fn page(command: &Command) -> (String, Vec<u8>) {
    let notes = command.get_after_help().map(ToString::to_string);
    // What stands after the help has lines that mean something, which would be filled into paragraphs.
    let man = Man::new(command.clone().after_help(Resettable::Reset))
        .title(command.get_display_name().unwrap_or("landline"))
        .source(concat!("landline ", env!("CARGO_PKG_VERSION")))
        .manual("landline");
    let mut text = Vec::new();
    // Writing to memory can't fail.
    let _ = man.render(&mut text);
    if let Some(notes) = notes {
        let mut section = Roff::new();
        section.control("SH", ["NOTES"]).control("nf", []);
        for line in notes.lines() {
            section.text([roman(line)]);
        }
        section.control("fi", []);
        let _ = section.to_writer(&mut text);
    }
    (man.get_filename(), text)
}

fn write_all(dir: &Path) -> Result<(), Failure> {
    let written = fs::create_dir_all(dir).and_then(|()| write(&program(), dir));
    written.map_err(|error| {
        let cause = landline::error::describe(&error);
        let dir = escape(dir.as_os_str().as_bytes(), Charset::Utf8);
        Failure::new(Exit::Other, format!("cannot write man pages into {dir}: {cause}"))
    })
}

/// Writes the page of a command, and of each below it.
fn write(command: &Command, dir: &Path) -> io::Result<()> {
    let (name, text) = page(command);
    fs::write(dir.join(name), text)?;
    command.get_subcommands().try_for_each(|below| write(below, dir))
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).or_else(|error| Failure::of_stdout(&error))
}
