//! What gets slow late: calls that were well within the bound on time when a candidate came, and are beyond it now.
//!
//! Side by side two versions are compared fairly, but with fresh instances, which have done a few calls: what gets slow
//! as an instance grows old is seen on live traffic alone. There the conditions differ. How much they do is known from
//! the beginning: by how much more the candidate took there than side by side. What goes beyond the bound in spite
//! of that, and has risen, is the candidate's own doing.

use super::bounds::Times;
use crate::config::processor::Rollout;

/// By how much the conditions of live traffic make calls longer at most: cold ones take some three times as long. A
/// candidate that is slow before it is looked at first is not excused for more.
const MOST_UNFAIR: f64 = 3.0;

/// How many times as long as side by side calls have to take: what is close to the bound does not go by chance.
const RISEN: f64 = 1.5;

/// Windows in a row that have to say so: each has 16 calls or more.
const IN_A_ROW: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Late {
    /// What calls took in the first window, in times of what those of the other version did.
    first: Option<f64>,
    in_a_row: u32,
}

impl Late {
    /// Looks at a window of live traffic; `fair` is what calls take side by side, if that is known. Gives why the
    /// candidate has to go, if it has.
    pub fn breach(&mut self, live: Times, fair: Option<Times>, rollout: &Rollout) -> Option<String> {
        let first = *self.first.get_or_insert(live.ratio());
        let fair = fair?.ratio();
        let unfair = (first / fair).clamp(1.0, MOST_UNFAIR);
        let excused = Times { usual: live.usual.mul_f64(unfair), ..live };
        let is_late = excused.is_beyond(rollout) && excused.ratio() > fair * RISEN;
        self.in_a_row = if is_late { self.in_a_row + 1 } else { 0 };
        (self.in_a_row >= IN_A_ROW).then(|| {
            let Times { took, usual } = live;
            format!(
                "half of the calls have come to take longer than {took:.1?} of CPU time, and {usual:.1?} of the version that serves; max_latency_ratio is {}",
                rollout.max_latency_ratio
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn times(took: u64, usual: u64) -> Times {
        Times { took: Duration::from_micros(took), usual: Duration::from_micros(usual) }
    }

    /// In which of these windows it is told, if side by side calls take so long.
    fn told(fair: Times, windows: &[Times]) -> Option<usize> {
        let (mut late, rollout) = (Late::default(), Rollout::default());
        windows.iter().position(|live| late.breach(*live, Some(fair), &rollout).is_some())
    }

    #[test]
    fn what_gets_slow_goes_when_three_windows_in_a_row_say_so() {
        let (good, slow, same) = (times(100, 100), times(500, 100), times(100, 100));
        assert_eq!(told(same, &[good, good, slow, slow, slow]), Some(4));
        assert_eq!(told(same, &[good, slow, slow, good, slow, slow, good]), None);
        assert_eq!(told(same, &[good, times(290, 100), times(299, 100), times(280, 100)]), None, "within the bound");
        let mut late = Late::default();
        assert_eq!(late.breach(good, None, &Rollout::default()), None);
        let told = [(); 4].map(|()| late.breach(slow, Some(same), &Rollout::default()));
        assert!(
            matches!(&told, [None, None, Some(told), Some(_)] if told.contains("max_latency_ratio is 3")),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_cold_stays() {
        let (cold, warm) = (times(290, 100), times(100, 100));
        assert_eq!(told(warm, &[cold, times(400, 100), times(500, 100), times(600, 100), times(700, 100)]), None);
        // It gets slow all the same.
        assert_eq!(told(warm, &[cold, times(1_500, 100), times(1_500, 100), times(1_500, 100)]), Some(3));
        // Twice as long as the other one, and that is allowed.
        let twice = times(200, 100);
        assert_eq!(told(twice, &[times(580, 100), times(800, 100), times(850, 100), times(800, 100)]), None);
    }

    #[test]
    fn who_is_slow_before_the_first_look_is_excused_for_no_more_than_what_cold_calls_take() {
        let slow = times(1_000, 100);
        assert_eq!(told(times(100, 100), &[slow, slow, slow]), Some(2));
    }

    #[test]
    fn what_is_close_to_the_bound_does_not_go_by_chance() {
        let close = times(290, 100);
        assert_eq!(told(close, &[close, times(310, 100), times(330, 100), times(310, 100)]), None);
    }
}
