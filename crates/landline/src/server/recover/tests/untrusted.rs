//! Whatever lies in the memory of a worker before, the next one ends in no panic, and a connection goes on
//! within what the kernel says, or is lost.

use std::net::Shutdown;
use std::sync::atomic::AtomicU8;

use proptest::prelude::*;

use super::*;

/// Where in a slot the cookie lies.
const COOKIE: usize = 104;

/// What is written in the place of four bytes: where, and what.
type Scribble = (usize, u32);

/// Few words in the wrong place do more harm than many, of which the first is refused.
fn scribbles() -> impl Strategy<Value = Vec<Scribble>> {
    let likely = prop::sample::select(vec![0, 1, 2, 3, 4, 6, 512, 1 << 24, 1 << 31, u32::MAX - 1, u32::MAX]);
    let block = (0..17_u32, 0..4_u32).prop_map(|(size, index)| size << 24 | index);
    let word = prop_oneof![4 => likely, 2 => block, 1 => any::<u32>()];
    prop::collection::vec((0..64_usize, word), 1..6)
}

impl Remains {
    /// Those of a worker that died with three bytes of a message.
    fn in_the_middle_of_a_message() -> Self {
        let mut remains = Self::of_one_who_accepted();
        let is_there = |remains: &Self| remains.slot().bytes_in() == 3;
        remains.worker(framed(Framing::Line, Upper), |caller| says(caller, "hel"), is_there);
        remains
    }

    /// Writes over the slot and the checkpoints, but for the cookie: with a wrong one, nothing is done.
    fn scribble(&self, scribbles: &[Scribble]) {
        let [slot, checkpoints] = Memory::places(self.number);
        let before = self.slot().cookie();
        let cookie: Vec<u8> = self.cookie().map(|byte| byte.load(Relaxed)).collect();
        for (place, word) in scribbles {
            let start = if *place < 32 { slot } else { checkpoints } + place % 32 * 4;
            for (there, byte) in self.memory.bytes()[start..].iter().zip(word.to_le_bytes()) {
                there.store(byte, Relaxed);
            }
        }
        self.cookie().zip(cookie).for_each(|(there, byte)| there.store(byte, Relaxed));
        assert_eq!(self.slot().cookie(), before);
    }

    /// The bytes of the cookie.
    fn cookie(&self) -> impl Iterator<Item = &'static AtomicU8> {
        self.bytes().skip(COOKIE).take(8)
    }

    /// The bytes of the slot and the checkpoints.
    fn bytes(&self) -> impl Iterator<Item = &'static AtomicU8> {
        let bytes = self.memory.bytes();
        Memory::places(self.number).into_iter().flat_map(|start| &bytes[start..start + 128])
    }
}

/// What becomes of the connection, and whether that is within what the kernel says.
fn judge(remains: &Remains, socket: &OwnedFd, resumable: bool) -> Result<(), TestCaseError> {
    let arena = Arena::over(remains.memory.arena(), remains.memory.blocks_in_use());
    let checkpoint = remains.checkpoints[remains.number].current();
    match fate(remains.slot(), checkpoint, socket, &Pool::new(Some(arena)), resumable) {
        Fate::New => prop_assert!(resumable && checkpoint.is_none() && remains.slot().is_untouched()),
        Fate::Lost => {}
        Fate::GoesOn(left) => {
            let at = checkpoint.expect("there is no going on without");
            let received = left.input.as_ref().map_or(0, |input| input.len());
            prop_assert!(left.consumed <= received);
            prop_assert!(left.sent <= left.output.as_ref().map_or(0, |output| output.len()));
            let answered = remains.slot().answered_to();
            prop_assert_eq!(Some(answered), at.base());
            prop_assert_eq!(answered + received as u64, remains.slot().bytes_in());
            prop_assert!(
                at.is_at_rest() || (remains.slot().bytes_in(), remains.slot().bytes_out()) == (3, 0)
            );
            prop_assert!(remains.slot().bytes_in().max(remains.slot().bytes_out()) <= POSITION_MAX);
        }
    }
    Ok(())
}

#[test]
fn whatever_the_table_says_a_connection_goes_on_within_what_the_kernel_says_or_is_lost() {
    let remains = Remains::in_the_middle_of_a_message();
    let socket = ManuallyDrop::new(socket::adopt(remains.number, remains.slot().cookie()).unwrap());
    let before: Vec<u8> = remains.bytes().map(|byte| byte.load(Relaxed)).collect();
    proptest!(ProptestConfig::with_cases(512), |(scribbles in scribbles(), resumable: bool)| {
        remains.scribble(&scribbles);
        let judged = judge(&remains, &socket, resumable);
        remains.bytes().zip(&before).for_each(|(there, byte)| there.store(*byte, Relaxed));
        judged?;
    });
}

#[test]
fn whatever_the_table_says_the_next_worker_serves_or_ends_the_connection_without_a_panic() {
    proptest!(ProptestConfig::with_cases(12), |(scribbles in scribbles())| {
        let mut remains = Remains::in_the_middle_of_a_message();
        remains.scribble(&scribbles);
        let is_there = remains.slot().phase() != Phase::Free;
        let talk = |caller: &mut TcpStream| {
            // It may have ended already.
            let _ = caller.write_all(b"lo\n").and_then(|()| caller.shutdown(Shutdown::Write));
            if is_there {
                let _ = caller.read_to_end(&mut Vec::new());
            }
        };
        let is_over = |remains: &Remains| remains.slot().phase() == Phase::Free;
        let events = remains.worker(framed(Framing::Line, Upper), talk, is_over);
        let is_panic = |event: &Event| matches!(event, Event::Closed { reason: CloseReason::HandlerPanicked, .. });
        prop_assert!(!events.iter().any(is_panic), "{:?}", events);
        let told = events.iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
        prop_assert_eq!(told, usize::from(is_there));
    });
}

#[test]
fn a_position_that_no_connection_ever_reaches_is_not_believed() {
    for position in [POSITION_MAX + 1, u64::MAX] {
        let mut remains = Remains::of_one_who_accepted();
        let at_rest = Checkpoint { answered: position, sent: position, ..Checkpoint::START };
        remains.checkpoints[remains.number].publish(&at_rest);
        assert!(is_told_as_lost(&upper(&mut remains, |_| {})));
    }
}

#[test]
fn a_connection_with_traffic_and_no_checkpoint_does_not_begin_anew() {
    let mut remains = Remains::in_the_middle_of_a_message();
    remains.checkpoints[remains.number].clear();
    assert!(is_told_as_lost(&upper(&mut remains, |_| {})));
}

#[test]
fn a_listener_that_the_table_has_as_a_connection_stays_with_its_owner() {
    let mut remains = Remains::of_one_who_accepted();
    let number = usize::try_from(remains.listening.socket.as_raw_fd()).unwrap();
    let [here, listening] = [remains.number, number].map(|number| Memory::places(number)[0]);
    let bytes = remains.memory.bytes();
    for (from, to) in bytes[here..][..128].iter().zip(&bytes[listening..][..128]) {
        to.store(from.swap(0, Relaxed), Relaxed);
    }
    let cookie = socket::cookie_of(number).to_le_bytes();
    bytes[listening + COOKIE..].iter().zip(cookie).for_each(|(there, byte)| there.store(byte, Relaxed));
    // The table is used at least so far.
    bytes[Memory::HIGHEST..].iter().zip([255, 15]).for_each(|(there, byte)| there.store(byte, Relaxed));
    assert!(is_told_as_lost(&upper(&mut remains, |_| {})));
    assert_eq!(socket::cookie_of(number).to_le_bytes(), cookie, "it is still open");
}
