//! `landline bench`: a load generator for any server that answers requests.

mod condition;
mod escape;
mod expect;
mod export;
mod figures;
mod latencies;
mod payload;
mod series;
mod summary;
mod tally;
mod text;
mod verdict;
