//! Two versions side by side: what calls of each take under the same conditions.
//!
//! On live traffic the version that serves most of the spans is warm, and the one that serves a share of them
//! is cold: of small calls that alone makes a multiple, the larger the smaller the share and the slower the
//! traffic. So the bound on time is judged here. Fresh instances of both work on copies of the batches that came
//! last, each as often, as soon after the other and as often before it, on one thread. Nothing of what they do counts.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::{Effects, Instance, Prepared};
use sluice_spans::Batch;

use super::bounds::Times;
use crate::chain::thread_cpu_time;

/// Calls of each that are compared. It is even: each comes first as often.
const CALLS: usize = 32;

/// CPU time after which fewer are enough, as what takes long varies little.
const BUDGET: Duration = Duration::from_millis(100);
const MIN_CALLS: usize = 4;

/// How long after both versions were compared that is done again: what turns slow late has to be found within
/// seconds. It takes at most one part in so many of that time.
const EVERY: Duration = Duration::from_secs(1);
const PART: u32 = 10;

/// When they may be compared again after that took so long.
pub fn again(cost: Duration) -> Instant {
    Instant::now() + EVERY.max(cost * PART)
}

/// What half of the calls take of the `candidate`, and of the `present` version. Nothing if there are no batches, or
/// one of them does not work on them: what fails is judged by its failures. Blocking, for 100 ms of CPU
/// time or some calls.
pub fn run(present: &Prepared, candidate: &Prepared, batches: &[Bytes]) -> Option<Times> {
    let side = |prepared: &Prepared| prepared.on_a_view().instantiate().ok();
    let mut sides = [side(present)?, side(candidate)?];
    compare(batches, |side, wire| time(sides.get_mut(side)?, wire))
}

/// The CPU time of a call, if it goes well.
fn time(instance: &mut Instance, wire: &Bytes) -> Option<Duration> {
    let (mut batch, mut effects) = (Batch::parse(wire.clone()).ok()?, Effects::default());
    let began = thread_cpu_time();
    let result = instance.process(&mut batch, &mut effects);
    let took = thread_cpu_time().saturating_sub(began);
    result.ok().map(|_| took)
}

/// Has both sides, 0 and 1, do the batches turn about; `call` gives what that took.
fn compare(batches: &[Bytes], mut call: impl FnMut(usize, &Bytes) -> Option<Duration>) -> Option<Times> {
    let (mut took, mut spent) = ([Vec::new(), Vec::new()], Duration::ZERO);
    // The first turn does not count: it sets both up. After that every batch comes twice, in both orders.
    for turn in 0..=CALLS {
        if turn > MIN_CALLS && turn % 2 == 1 && spent > BUDGET {
            break;
        }
        let wire = batches.get(turn.div_ceil(2) % batches.len().max(1))?;
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let time = call(side, wire)?;
            spent += time;
            if turn > 0 {
                took.get_mut(side)?.push(time);
            }
        }
    }
    let [usual, took] = took.map(middle);
    Some(Times { took: took?, usual: usual? })
}

/// The upper one of the two in the middle.
fn middle(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// Compares sides whose calls take so long, and by `cold` longer when the other one did not just work.
    fn compared(calls: [Duration; 2], cold: Duration) -> (Option<Times>, [u32; 2]) {
        let (mut made, mut in_turn) = ([0, 0], false);
        let times = compare(&[Bytes::new()], |side, _| {
            in_turn = !in_turn;
            *made.get_mut(side)? += 1;
            Some(*calls.get(side)? + if in_turn { cold } else { Duration::ZERO })
        });
        (times, made)
    }

    #[test]
    fn who_comes_first_makes_no_difference() {
        let (times, made) = compared([20 * MICRO; 2], 100 * MICRO);
        assert_eq!((times.map(|times| (times.took, times.usual)), made), (Some((120 * MICRO, 120 * MICRO)), [33; 2]));
        let (times, _) = compared([20 * MICRO, 100 * MICRO], Duration::ZERO);
        assert_eq!(times.map(|times| (times.took, times.usual)), Some((100 * MICRO, 20 * MICRO)));
    }

    #[test]
    fn calls_that_take_long_are_few() {
        let (times, made) = compared([Duration::from_millis(30), Duration::from_millis(90)], Duration::ZERO);
        assert_eq!(times.map(|times| times.took), Some(Duration::from_millis(90)));
        assert_eq!(made, [5; 2], "the first, and as many as have to be");
    }

    #[test]
    fn what_fails_or_has_no_batches_is_not_compared() {
        assert_eq!(compare(&[], |_, _| Some(MICRO)), None);
        assert_eq!(compare(&[Bytes::new()], |side, _| (side == 0).then_some(MICRO)), None);
    }
}
