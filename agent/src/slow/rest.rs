//! Rest after a computation: the fast half shares its processor time with this one, and in a
//! storm at ten thousand Services computing everything anew for each event would take a core.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// What a computation may cost without a rest: what is cheap keeps nobody waiting.
const FREE: Duration = Duration::from_micros(500);
/// What it costs beyond that is followed by a rest of so many times as long,
const TIMES: u32 = 20;
/// but not for longer than this.
const LONGEST: Duration = Duration::from_secs(1);

/// The processor time of a computation that is going on. The time of day would count what others
/// did meanwhile: on a busy machine most of it.
#[derive(Debug)]
pub(super) struct Cost(Duration);

impl Cost {
    /// It begins.
    pub(super) fn begin() -> Self {
        Self(spent())
    }

    /// It has ended: when the next one may begin.
    pub(super) fn rest(&self, now: Instant) -> Instant {
        now + pause(spent().saturating_sub(self.0))
    }
}

fn spent() -> Duration {
    // It cannot fail for the calling thread; without it there is no rest.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

fn pause(cost: Duration) -> Duration {
    (cost.saturating_sub(FREE) * TIMES).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cheap_needs_no_rest_and_what_is_dear_a_bounded_one() {
        let ms = Duration::from_millis;
        let cases = [(ms(0), ms(0)), (FREE, ms(0)), (ms(1), ms(10)), (ms(20), ms(390)), (ms(900), LONGEST)];
        for (cost, expected) in cases {
            assert_eq!(pause(cost), expected, "{cost:?}");
        }
    }
}
