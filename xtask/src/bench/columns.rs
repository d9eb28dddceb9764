//! What is asked of the servers.

use crate::trial::traffic::{Traffic, Wording};

/// A column of the table.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) measure: Measure,
    /// Whether it is measured when nobody says which columns are.
    pub(super) is_usual: bool,
    /// What landline's figure may be at most.
    pub(super) bound: f64,
    /// The same next to the best loop on tokio, where that is asked.
    pub(super) bound_to_tokio: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Measure {
    /// CPU time for a reply, as a ratio to the bare epoll loop's.
    Cost(Traffic),
    /// Memory for one more connection, in bytes.
    Memory,
}

const fn ping_pong(connections: usize) -> Measure {
    Measure::Cost(Traffic::ping_pong(connections))
}

const fn at_fifty(size: usize, depth: usize, wording: Wording, churns: bool) -> Measure {
    Measure::Cost(Traffic { connections: 50, size, depth, wording, churns })
}

const SIZE: usize = Traffic::USUAL_SIZE;

pub(super) const COLUMNS: &[Column] = &[
    Column {
        name: "c1",
        title: "1 connection",
        measure: ping_pong(1),
        is_usual: false,
        bound: f64::INFINITY,
        bound_to_tokio: None,
    },
    Column {
        name: "c50",
        title: "50 connections",
        measure: ping_pong(50),
        is_usual: true,
        bound: 1.10,
        bound_to_tokio: Some(1.05),
    },
    Column {
        name: "c1k",
        title: "1,000 connections",
        measure: ping_pong(1_000),
        is_usual: true,
        bound: 1.10,
        bound_to_tokio: Some(1.05),
    },
    Column {
        name: "c10k",
        title: "10,000 connections",
        measure: ping_pong(10_000),
        is_usual: false,
        bound: 1.10,
        bound_to_tokio: Some(1.05),
    },
    Column {
        name: "x16",
        title: "×16",
        measure: at_fifty(SIZE, 16, Wording::Raw, false),
        is_usual: true,
        bound: 1.05,
        bound_to_tokio: None,
    },
    Column {
        name: "x256",
        title: "×256",
        measure: at_fifty(SIZE, 256, Wording::Raw, false),
        is_usual: false,
        bound: 1.05,
        bound_to_tokio: None,
    },
    Column {
        name: "64k",
        title: "64 KiB",
        measure: at_fifty(64 << 10, 1, Wording::Raw, false),
        is_usual: true,
        bound: 1.05,
        bound_to_tokio: None,
    },
    Column {
        name: "churn",
        title: "churn",
        measure: at_fifty(SIZE, 1, Wording::Raw, true),
        is_usual: true,
        bound: 1.10,
        bound_to_tokio: None,
    },
    Column {
        name: "line",
        title: "lines ×16",
        measure: at_fifty(SIZE, 16, Wording::Line, false),
        is_usual: true,
        bound: 1.15,
        bound_to_tokio: None,
    },
    Column {
        name: "memory",
        title: "idle, B",
        measure: Measure::Memory,
        is_usual: false,
        bound: 1280.0,
        bound_to_tokio: None,
    },
];
