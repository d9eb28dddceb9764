//! landline
pub mod address;
pub mod error;
pub mod frame;
