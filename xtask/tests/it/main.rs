//! House rules as tests: what would otherwise be said twice in review.
//!
//! `rules` is pure over text and shows of each rule that it can fail; `tidy` holds the workspace to them.

mod code;
mod rules;
mod tidy;
