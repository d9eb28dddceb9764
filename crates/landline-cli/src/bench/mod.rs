//! `landline bench`: a load generator for any server that answers requests.

mod escape;
mod expect;
mod payload;
