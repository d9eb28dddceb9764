//! What talks to the operating system below the standard library: the only place with `unsafe`.

pub(crate) mod append;
pub(crate) mod arena;
pub(crate) mod clock;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) mod clone;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) mod descriptors;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) mod exec;
pub(crate) mod limits;
#[cfg(all(target_os = "linux", feature = "takeover"))]
pub(crate) mod positions;
pub(crate) mod region;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod upper;
pub(crate) mod way;
