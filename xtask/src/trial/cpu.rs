//! What a reply costs the server in CPU time, next to a bare epoll loop that does the same.

use super::duel::{self, Rival};
use super::program::{part, serve};
use super::reference;
use super::report::Report;
use crate::Outcome;

pub(super) fn run(report: &mut Report) -> Outcome {
    let bare = Rival::new("bare epoll loop", part(&[reference::PART, "raw"]));
    let landline = Rival::new("landline", serve(&["--quiet", "--threads", "1"]));
    duel::compare(report, bare, landline)
}
