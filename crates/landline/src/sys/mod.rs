//! What talks to the operating system below the standard library: the only place with `unsafe`.

pub(crate) mod append;
pub(crate) mod limits;
pub(crate) mod region;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod upper;
