//! The mode of the terminal while this program has it.

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal passes keys as they are pressed; dropping this puts it back as it was.
///
/// The line editor does the same for as long as a line is being edited. Between two lines, too, a key has to
/// stay that key: else a Ctrl-D in that moment would never reach the editor, and text would be shown twice.
/// Ctrl-C stays a signal there, so that it ends a program that no longer reads keys.
#[derive(Debug)]
pub(super) struct TerminalMode(Option<Termios>);

impl TerminalMode {
    pub(super) fn raw() -> Self {
        let before = tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(mut mode) = before.clone() {
            mode.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            mode.input_modes -= InputModes::ICRNL | InputModes::IXON;
            set(&mode);
        }
        Self(before)
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            set(before);
        }
    }
}

fn set(mode: &Termios) {
    // A terminal that has gone needs no mode.
    let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, mode);
}
