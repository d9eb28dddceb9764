//! What the line editor asks while a line is typed: what to draw, to suggest, to complete.

use std::borrow::Cow;
use std::sync::Arc;

use anstyle::Style;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::Validator;
use rustyline::{Context, Helper, Result};

use super::screen::Screen;
use super::typed::COMMANDS;

pub(super) struct Assistant {
    screen: Arc<Screen>,
    hinter: HistoryHinter,
    files: FilenameCompleter,
}

impl Assistant {
    pub(super) fn new(screen: Arc<Screen>) -> Self {
        Self { screen, hinter: HistoryHinter::new(), files: FilenameCompleter::new() }
    }
}

impl Highlighter for Assistant {
    /// Puts what waits to be shown before the prompt, each time the editor draws it.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        let waiting = self.screen.take();
        if waiting.is_empty() { Cow::Borrowed(prompt) } else { Cow::Owned(waiting + prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        let dimmed = Style::new().dimmed();
        Cow::Owned(format!("{dimmed}{hint}{dimmed:#}"))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    /// The rest of an earlier line, where it can be told from what was typed.
    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<String> {
        if self.screen.has_styles() { self.hinter.hint(line, pos, ctx) } else { None }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = &line[..pos];
        if typed.starts_with("/file ") {
            return self.files.complete(line, pos, ctx);
        }
        let fitting = COMMANDS.iter().filter(|(name, ..)| typed.starts_with('/') && name.starts_with(typed));
        let pairs = fitting.filter(|(name, ..)| !name.starts_with("//")).map(|(name, argument, _)| Pair {
            display: (*name).to_owned(),
            // Something follows some of them.
            replacement: if argument.is_empty() { (*name).to_owned() } else { format!("{name} ") },
        });
        Ok((0, pairs.collect()))
    }
}

impl Validator for Assistant {}

impl Helper for Assistant {}
