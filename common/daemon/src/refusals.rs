//! Writes that the API server refuses again and again: said once, then counted, and tried ever more
//! rarely, so that a right that is missing fills neither the log nor the API server's day.
//!
//! A refusal is known by what was to be written and by the kind of answer, not by its words: those
//! name another object each time.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::text::{chain, cut};

/// First pause before something of a kind is written again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Doubled up to this where the API server says no: somebody has to do something about it.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// And up to this where it says nothing: it may be back at any moment.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// The same refusal is said again after this, then after twice as long each time,
const FIRST_WORD: Duration = Duration::from_secs(30);
/// but after this at the latest.
const LONGEST_WORD: Duration = Duration::from_secs(600);
/// A refusal that was not seen for so long is news again.
const FORGOTTEN: Duration = Duration::from_secs(1200);
/// So many in a row, with nothing taken between them, stand: the object is not the reason.
const STANDING: u64 = 3;
/// Kinds of answers that are told apart for one kind of object.
const ANSWERS: usize = 8;
/// The longest error that is kept.
const LONGEST: usize = 500;

/// How the API server took a write that it did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It said no, with this status: a right or a kind is missing, or the object is not to its liking.
    No(u16),
    /// It is overloaded, has a fault, or did not answer at all.
    None,
}

impl Answer {
    /// What an error, or one of its causes, has of the API server's answer.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
                return match status.code {
                    429 => Self::None,
                    code @ 400..=499 => Self::No(code),
                    _ => Self::None,
                };
            }
            next = error.source();
        }
        Self::None
    }
}

/// What is refused, by kind of object. Clones share it.
#[derive(Debug, Clone)]
pub struct Refusals {
    kinds: Arc<Mutex<BTreeMap<&'static str, Kind>>>,
    /// Told when [`Self::standing`] may have changed.
    changed: Arc<watch::Sender<()>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { kinds: Arc::default(), changed: Arc::new(watch::channel(()).0) }
    }
}

#[derive(Debug, Default)]
struct Kind {
    /// Refusals in a row, nothing having been taken since the first.
    row: Option<Row>,
    pause: Option<Duration>,
    until: Option<Instant>,
    said: BTreeMap<Answer, Said>,
}

#[derive(Debug)]
struct Row {
    since: Instant,
    count: u64,
    /// The first one's words.
    first: String,
    answer: Answer,
}

#[derive(Debug)]
struct Said {
    /// Not said since the last time.
    silent: u64,
    pause: Duration,
    next: Instant,
    last: Instant,
}

impl Kind {
    /// Takes note of a refusal. `Some`: to be said now, with how many were not.
    fn refused(&mut self, now: Instant, answer: Answer, words: &str) -> Option<u64> {
        let row = self.row.get_or_insert_with(|| Row {
            since: now,
            count: 0,
            first: cut(words.to_owned(), LONGEST),
            answer,
        });
        row.count += 1;
        // What was under way beside it failed for the same reason and is no second try.
        if self.until.is_none_or(|until| until <= now) {
            let longest = if answer == Answer::None { LONGEST_SILENCE } else { LONGEST_PAUSE };
            let pause = self.pause.map_or(FIRST_PAUSE, |pause| pause * 2).min(longest);
            (self.pause, self.until) = (Some(pause), Some(now + pause));
        }
        self.said.retain(|_, said| now.saturating_duration_since(said.last) < FORGOTTEN);
        let known = self.said.len();
        match self.said.get_mut(&answer) {
            Some(said) => {
                said.last = now;
                if now < said.next {
                    said.silent += 1;
                    return None;
                }
                said.pause = (said.pause * 2).min(LONGEST_WORD);
                said.next = now + said.pause;
                Some(std::mem::take(&mut said.silent))
            }
            None if known >= ANSWERS => None,
            None => {
                let said = Said { silent: 0, pause: FIRST_WORD, next: now + FIRST_WORD, last: now };
                self.said.insert(answer, said);
                Some(0)
            }
        }
    }

    /// Something of the kind was taken. `Some`: to be said, since refusals were; how many.
    fn taken(&mut self, now: Instant) -> Option<u64> {
        (self.pause, self.until) = (None, None);
        let row = self.row.take()?;
        (now.saturating_duration_since(row.since) >= FIRST_PAUSE).then_some(row.count)
    }

    fn stands(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.count >= STANDING && matches!(row.answer, Answer::No(_)))
    }
}

impl Refusals {
    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write of `what` did not happen; `object` is which one of the kind. Says so in the log when
    /// it is time to.
    pub fn refused(
        &self,
        now: Instant,
        what: &'static str,
        object: &dyn Display,
        error: &(dyn Error + 'static),
    ) -> Answer {
        let (answer, words) = (Answer::of(error), chain(error));
        let (silent, stands) = {
            let mut kinds = self.kinds();
            let kind = kinds.entry(what).or_default();
            let before = kind.stands().is_some();
            let silent = kind.refused(now, answer, &words);
            (silent, kind.stands().is_some() != before)
        };
        if stands {
            self.changed.send_replace(());
        }
        match silent {
            Some(0) => {
                tracing::warn!(%object, error = words, "cannot write {what}; will try again, ever more rarely");
            }
            Some(silent) => {
                tracing::warn!(%object, error = words, silent, "still cannot write {what}: as many more were refused since this was last said");
            }
            None => tracing::debug!(%object, error = words, "cannot write {what}"),
        }
        answer
    }

    /// A write of `what` has been done. True if those before it were refused: others that wait may
    /// be tried at once.
    pub fn taken(&self, now: Instant, what: &'static str) -> bool {
        let (was, stood, said) = {
            let mut kinds = self.kinds();
            let Some(kind) = kinds.get_mut(what) else { return false };
            (kind.row.is_some(), kind.stands().is_some(), kind.taken(now))
        };
        if stood {
            self.changed.send_replace(());
        }
        if let Some(refused) = said {
            tracing::info!(refused, "{what} is written again");
        }
        was
    }

    /// Until when nothing of the kind need be tried; `None`: now.
    #[must_use]
    pub fn until(&self, now: Instant, what: &'static str) -> Option<Instant> {
        self.kinds().get(what)?.until.filter(|until| *until > now)
    }

    /// What is being refused as a whole, a line each, the same for as long as it lasts.
    #[must_use]
    pub fn standing(&self) -> Vec<String> {
        let line =
            |(what, kind): (&&str, &Kind)| Some(format!("cannot write {what}: {}", kind.stands()?.first));
        self.kinds().iter().filter_map(line).collect()
    }

    /// Told each time when [`Self::standing`] has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const NO: Answer = Answer::No(403);

    fn status(code: u16) -> kube::Error {
        let status = kube::core::Status { code, ..kube::core::Status::failure("no", "Reason") };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn the_answer_is_found_below_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write")]
        struct Above(#[source] kube::Error);
        // (status, answer)
        for (code, answer) in [
            (403, NO),
            (404, Answer::No(404)),
            (422, Answer::No(422)),
            (429, Answer::None),
            (500, Answer::None),
            (503, Answer::None),
        ] {
            assert_eq!(Answer::of(&Above(status(code))), answer, "{code}");
        }
        assert_eq!(Answer::of(&std::io::Error::other("reset")), Answer::None);
    }

    #[test]
    fn a_refusal_each_second_for_a_day_is_some_lines_and_ever_fewer() {
        let (mut kind, begin) = (Kind::default(), Instant::now());
        let mut said = Vec::new();
        for second in 0..86_400 {
            let name = second.to_string();
            if let Some(silent) = kind.refused(begin + S * second, NO, &name) {
                said.push((second, silent));
            }
        }
        // The words differ each time, the refusal does not.
        assert_eq!(said[..4], [(0, 0), (30, 29), (90, 59), (210, 119)]);
        assert!(said.len() < 150, "{}", said.len());
        assert_eq!(kind.row.as_ref().map(|row| row.first.as_str()), Some("0"));
    }

    #[test]
    fn another_answer_is_news_and_answers_are_bounded() {
        let (mut kind, now) = (Kind::default(), Instant::now());
        assert_eq!(kind.refused(now, NO, ""), Some(0));
        assert_eq!(kind.refused(now + S, Answer::None, ""), Some(0));
        assert_eq!(kind.refused(now + S * 2, NO, ""), None, "they alternate");
        let many = (400..500).filter(|code| kind.refused(now + S * 3, Answer::No(*code), "").is_some());
        assert_eq!(many.count(), ANSWERS - 2);
        assert_eq!(kind.refused(now + FORGOTTEN * 2, NO, ""), Some(0), "it was forgotten");
    }

    #[test]
    fn writes_wait_ever_longer_and_what_fails_beside_one_is_no_second_try() {
        // (answer, pauses)
        for (answer, pauses) in
            [(NO, vec![1, 2, 4, 8, 16, 32, 64, 120, 120]), (Answer::None, vec![1, 2, 4, 8, 10, 10])]
        {
            let (mut kind, mut now) = (Kind::default(), Instant::now());
            for seconds in pauses {
                kind.refused(now, answer, "");
                kind.refused(now, answer, "");
                assert_eq!(kind.until, Some(now + S * seconds), "{answer:?}");
                now += S * seconds;
            }
            kind.taken(now);
            assert_eq!(kind.until, None);
        }
    }

    #[test]
    fn what_is_taken_ends_it_and_its_end_is_said_if_it_lasted() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let mut changes = refusals.changes();
        let refuse = |at| refusals.refused(at, "things", &"a", &status(403));
        assert!(!refusals.taken(now, "things"));
        assert_eq!(refuse(now), NO);
        refuse(now + S);
        assert_eq!(refusals.standing(), Vec::<String>::new(), "it may be that object alone");
        assert!(!changes.has_changed().unwrap());
        refuse(now + S * 2);
        assert_eq!(refusals.standing().len(), 1);
        assert!(refusals.standing()[0].starts_with("cannot write things: "));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(refusals.until(now + S * 2, "things").is_some());
        assert!(refusals.taken(now + S * 9, "things"));
        assert!(changes.has_changed().unwrap());
        assert_eq!((refusals.standing(), refusals.until(now, "things")), (vec![], None));
        assert_eq!(Kind::default().taken(now), None);
    }

    #[test]
    fn an_api_server_that_is_away_stands_for_nothing() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for n in 0..9 {
            refusals.refused(now + S * n, "things", &"a", &status(503));
        }
        assert_eq!(refusals.standing(), Vec::<String>::new());
    }
}
