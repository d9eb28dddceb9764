//! House rules as tests: what would otherwise be said twice in review.
//!
//! `rules` is pure over text and shows of each rule that it can fail; `tidy` holds the workspace to them.
//! `instructions` holds what a message costs to bounds.

mod code;
mod instructions;
mod rules;
mod tidy;
