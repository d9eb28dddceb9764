//! The line editor, in a thread of its own.

use std::sync::Arc;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Editor};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::assistant::Assistant;
use super::history::{History, LINES_MAX};
use super::screen::Screen;
use super::typed::{COMMANDS, Reading, Typed};
use crate::exit::{Exit, Failure};

const PROMPT: &str = ">>: ";

/// What a command's column is wide.
const COMMAND_WIDTH: usize = 12;

pub(super) struct LineEditor {
    editor: Editor<Assistant, MemHistory>,
    history: History,
    screen: Arc<Screen>,
    /// A failure to keep lines was told.
    is_forgetful: bool,
}

/// The line editor, on its terminal.
pub(super) fn open(screen: &Arc<Screen>) -> Result<LineEditor, Failure> {
    build(screen)
        .map_err(|error| Failure::new(Exit::Other, format!("cannot edit lines on this terminal: {error}")))
}

fn build(screen: &Arc<Screen>) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        // With stdout redirected, the prompt goes to the terminal all the same.
        .behavior(if screen.shows_data { Behavior::Stdio } else { Behavior::PreferTerm })
        // Without "colour" the editor does not ask its helper what to draw.
        .color_mode(ColorMode::Forced)
        .completion_type(CompletionType::List)
        .max_history_size(LINES_MAX)?
        .auto_add_history(false)
        .build();
    let memory = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, memory)?;
    editor.set_helper(Some(Assistant::new(screen.clone())));
    // A terminal without line editing has no redrawing either; there, everything is written as it comes.
    if let Ok(printer) = editor.create_external_printer() {
        screen.wake_by(printer);
    }
    let (history, before) = History::open();
    let mut editor = LineEditor { editor, history, screen: screen.clone(), is_forgetful: false };
    match before {
        Ok(lines) => {
            for line in lines {
                editor.editor.add_history_entry(line)?;
            }
        }
        Err(error) => editor.forget(&error),
    }
    Ok(editor)
}

impl LineEditor {
    /// Reads lines until the end of input; the end of the channel is that end.
    pub(super) fn read_lines(mut self, reading: Reading) -> Receiver<Typed> {
        let (wishes, receiver) = channel(1);
        std::thread::spawn(move || self.edit(reading, &wishes));
        receiver
    }

    fn edit(&mut self, reading: Reading, wishes: &Sender<Typed>) {
        let mut cleared = false;
        loop {
            self.screen.begin_line();
            let line = self.editor.readline(PROMPT);
            self.screen.end_line();
            let line = match line {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    if std::mem::replace(&mut cleared, true) {
                        self.screen.say("Ctrl-D or /quit finishes");
                    }
                    continue;
                }
                // The end of input, or a terminal that has gone.
                Err(_) => return,
            };
            cleared = false;
            line.lines().for_each(|line| self.keep(line));
            for wish in reading.read(&line) {
                if wish == Typed::Quit || !self.grant(wish, wishes) {
                    return;
                }
            }
        }
    }

    /// Does what the editor can do itself, and passes on the rest; not if nobody takes it any more.
    fn grant(&self, wish: Typed, wishes: &Sender<Typed>) -> bool {
        match wish {
            Typed::Help => self.screen.say(&help()),
            Typed::Misused(how) => self.screen.say(&format!("it is {how}; /help lists the commands")),
            Typed::Unknown(word) => self.screen.say(&format!(
                "'{word}' is no command; /help lists them, and '/{word}' sends it to the server"
            )),
            wish => return wishes.blocking_send(wish).is_ok(),
        }
        true
    }

    /// Has a line come back, today and later.
    fn keep(&mut self, line: &str) {
        if !History::wants(line) {
            return;
        }
        // A history that only lives in memory takes every line.
        let _ = self.editor.add_history_entry(line);
        if let Err(error) = self.history.add(line) {
            self.forget(&error);
        }
    }

    fn forget(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_forgetful, true) {
            let cause = landline::error::describe(error);
            self.screen.notice(&format!("lines are not kept for the next time: {cause}"));
        }
    }
}

fn help() -> String {
    let commands: Vec<String> = COMMANDS
        .iter()
        .map(|(name, argument, what)| format!("  {:COMMAND_WIDTH$}{what}\n", format!("{name}{argument}")))
        .collect();
    format!(
        "Enter sends the line. Replies appear above the prompt as they come.\n{}\
         ↑ and Ctrl-R bring back earlier lines, → takes what is suggested, Tab completes commands;\n\
         lines that begin with a space are not kept. Ctrl-C clears the line.",
        commands.concat()
    )
}
