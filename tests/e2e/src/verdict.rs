//! What a client saw of an address while something went wrong: how long it was dark,
//! and how long two stations answered for it.

use clarion_lab::prober::Sample;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A station that answers after another one began counts as a second owner if it did
/// within this: later it is another spell.
const SPELL: Duration = Duration::from_secs(2);

/// What a watch showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Questions asked.
    pub asked: usize,
    /// Questions that nobody answered.
    pub unanswered: usize,
    /// Longest time between two answers around questions that nobody answered.
    pub dark: Duration,
    /// Longest time in which two stations answered by turns.
    pub overlap: Duration,
    /// How often another station answered than before.
    pub changes: usize,
}

impl Verdict {
    /// Of the questions since an instant. One that was asked just before the watch ended
    /// and has no answer yet is not counted.
    pub fn of(samples: &[Sample], since: Instant) -> Self {
        let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.sent >= since).collect();
        let mut answers: Vec<(Instant, [u8; 6])> =
            samples.iter().flat_map(|sample| &sample.answers).map(|answer| (answer.at, answer.mac)).collect();
        answers.sort_unstable();
        Self {
            asked: samples.len(),
            unanswered: samples.iter().filter(|sample| sample.answers.is_empty()).count(),
            dark: dark(&samples, since),
            overlap: overlap(&answers),
            changes: answers.windows(2).filter(|pair| pair[0].1 != pair[1].1).count(),
        }
    }
}

fn dark(samples: &[&Sample], since: Instant) -> Duration {
    let (mut longest, mut last, mut missed) = (Duration::ZERO, since, false);
    for sample in samples {
        match sample.answers.iter().map(|answer| answer.at).min() {
            None => {
                missed = true;
                longest = longest.max(sample.sent.saturating_duration_since(last));
            }
            Some(first) => {
                if std::mem::take(&mut missed) {
                    longest = longest.max(first.saturating_duration_since(last));
                }
                last = sample.answers.iter().map(|answer| answer.at).max().unwrap_or(first);
            }
        }
    }
    longest
}

/// The longest time from when a station began to answer until one that answered before it
/// was last heard.
fn overlap(answers: &[(Instant, [u8; 6])]) -> Duration {
    let mut longest = Duration::ZERO;
    for (index, (begin, mac)) in answers.iter().enumerate().skip(1) {
        if answers[index - 1].1 == *mac {
            continue;
        }
        let before: BTreeSet<_> = answers[..index]
            .iter()
            .filter(|(at, other)| *begin - *at < SPELL && other != mac)
            .map(|(_, m)| *m)
            .collect();
        let after = answers[index..].iter().take_while(|(at, _)| *at - *begin < SPELL);
        if let Some((at, _)) = after.filter(|(_, other)| before.contains(other)).last() {
            longest = longest.max(*at - *begin);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_lab::prober::Answer;

    /// Questions every 10 ms; each with the stations that answer it, 1 ms later each.
    fn verdict(stations: &[&[u8]]) -> Verdict {
        let begin = Instant::now();
        let samples: Vec<_> = (0_u64..)
            .zip(stations)
            .map(|(n, stations)| {
                let sent = begin + Duration::from_millis(10 * n);
                let answer = |(late, station): (u64, &u8)| {
                    let took = Duration::from_millis(late);
                    Answer { mac: [*station; 6], from: [*station; 6], took, at: sent + took }
                };
                Sample { sent, answers: (1..).zip(*stations).map(answer).collect() }
            })
            .collect();
        Verdict::of(&samples, begin)
    }

    #[test]
    fn darkness_and_overlap_are_measured_between_answers() {
        let ms = Duration::from_millis;
        let plain = verdict(&[&[1], &[1], &[2], &[2]]);
        assert_eq!(plain, Verdict { asked: 4, changes: 1, ..Verdict::default() });
        let dark = verdict(&[&[1], &[], &[], &[2]]);
        assert_eq!((dark.unanswered, dark.dark, dark.overlap), (2, ms(30), ms(0)));
        assert_eq!(verdict(&[&[1], &[], &[]]).dark, ms(19), "dark to the end");
        assert_eq!(verdict(&[&[1], &[1, 2], &[2, 1], &[2]]).overlap, ms(10));
        assert_eq!(verdict(&[&[1], &[2], &[1], &[2], &[1], &[1]]).overlap, ms(40));
        assert_eq!(verdict(&[]), Verdict::default());
    }
}
