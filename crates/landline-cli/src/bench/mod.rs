//! `landline bench`: a load generator for any server that answers requests.

mod condition;
mod escape;
mod expect;
mod export;
mod figures;
mod latencies;
mod payload;
mod report;
mod series;
mod summary;
mod tables;
mod tally;
mod text;
mod verdict;
