//! How much memory a server takes for one more idle connection.

use crate::Outcome;
use crate::trial::duel::{Rival, callers};
use crate::trial::figures::float;
use crate::trial::proc::resident;
use crate::trial::traffic::Traffic;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
const TIMES: usize = 3;

/// Bytes for each connection from the few to the many, several times. Each has exchanged one message.
pub(super) fn slopes(rival: &mut Rival, traffic: &Traffic) -> Outcome<Vec<f64>> {
    let slope = |_| {
        let served = rival.start()?;
        let some = callers(served.port, &Traffic { connections: FEW, ..*traffic })?;
        let few = resident(served.pid())?;
        let others = callers(served.port, &Traffic { connections: MANY - FEW, ..*traffic })?;
        let many = resident(served.pid())?;
        drop((some, others));
        Ok((float(many) - float(few)) / float((MANY - FEW) as u64))
    };
    (0..TIMES).map(slope).collect()
}
