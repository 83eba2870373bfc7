//! Progress with elapsed times: moving bars on a terminal, plain lines elsewhere.
//!
//! Everything here goes to standard error; results that a script may read go to
//! standard output. Plain lines are few: one when a step starts, one at most
//! every [`PLAIN_INTERVAL`] while it lasts, one when it ends.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a long step says without a terminal that it is alive.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// Width of a step's name in the output.
const NAME_WIDTH: usize = 18;

/// Where progress is shown.
#[derive(Debug)]
pub(crate) struct Ui {
    bars: Option<MultiProgress>,
}

/// One thing that is being done. Ends with [`Step::done`] or [`Step::failed`].
#[derive(Debug)]
pub(crate) struct Step<'a> {
    ui: &'a Ui,
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    said: Mutex<Instant>,
}

impl Ui {
    /// Bars if standard error is a terminal.
    pub(crate) fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Starts a step; `why` is what it is about to do.
    pub(crate) fn step(&self, name: &str, why: &str) -> Step<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            let template = format!("{{spinner}} {{prefix:{NAME_WIDTH}}} {{elapsed:>4}}  {{wide_msg}}");
            bar.set_style(
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_prefix(name.to_owned());
            bar.set_message(why.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            eprintln!("  ..   {name:NAME_WIDTH$} {why}");
        }
        let now = Instant::now();
        Step { ui: self, name: name.to_owned(), started: now, bar, said: Mutex::new(now) }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bars {
            // Only fails when the terminal is gone, and then nobody reads.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }
}

impl Step<'_> {
    /// What it does at the moment.
    pub(crate) fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.elapsed() >= PLAIN_INTERVAL {
            *said = Instant::now();
            eprintln!("  ..   {:NAME_WIDTH$} {} s: {what}", self.name, self.started.elapsed().as_secs());
        }
    }

    /// Time since it started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// It ended well.
    pub(crate) fn done(self, what: &str) {
        self.end("ok  ", what);
    }

    /// It failed.
    pub(crate) fn failed(self, what: &str) {
        self.end("FAIL", what);
    }

    fn end(self, mark: &str, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let line = format!("  {mark} {:NAME_WIDTH$} {what} ({})", self.name, seconds(self.started.elapsed()));
        self.ui.say(&line);
    }
}

/// A duration as people read it: `0.4 s`, `3 m 20 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 100 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} m {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_read_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(99)), "99.0 s");
        assert_eq!(seconds(Duration::from_secs(245)), "4 m 05 s");
    }
}
