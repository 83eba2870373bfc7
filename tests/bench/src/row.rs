//! A benchmark's row: what was measured, against whom, and whether its bar holds.
//!
//! A figure without its rival of the same run says little about a program on an
//! unknown machine, so a row carries both, and a bar is stated on the ratio
//! wherever a rival exists. Rows are what `--json` writes, one object each, with
//! the fields of [`Row`] in the order written here.

use serde::Serialize;

/// One measured quantity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Group that measured it: `dataplane`, `layer2`, `bgp`, `addresses`, `operate`.
    pub group: String,
    /// What was measured, in words that stand alone.
    pub name: String,
    /// Unit of every figure of the row: `ns`, `µs`, `ms`, `MB`, `1/s`, `%`, `Gbit/s`.
    pub unit: String,
    /// Number of samples behind the figures.
    pub runs: usize,
    /// Median.
    pub p50: f64,
    /// 99th percentile (nearest rank, so with less than 100 samples the largest).
    pub p99: f64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// The rival of the same run, if there is one.
    pub versus: Option<Versus>,
    /// Our median over the rival's.
    pub ratio: Option<f64>,
    /// What was promised, as text: `≤ 60 ns`, `≤ 1.25 ×`.
    pub bar: Option<String>,
    /// Whether the promise holds; absent when nothing was promised.
    pub holds: Option<bool>,
}

/// The rival of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Versus {
    /// Who it is: "kernel's own ARP", "bare client".
    pub name: String,
    /// Its median, in the row's unit.
    pub p50: f64,
}

/// A promise about a row's median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// The median is at most this, in the row's unit.
    AtMost(f64),
    /// The median is at least this, in the row's unit.
    AtLeast(f64),
    /// The median over the rival's is at most this.
    RatioAtMost(f64),
    /// The median over the rival's is at least this.
    RatioAtLeast(f64),
}

impl Row {
    /// A row of samples in `unit`, in any order.
    ///
    /// # Panics
    /// When there are no samples: a row that measured nothing must not exist.
    #[must_use]
    pub fn new(group: &str, name: &str, unit: &str, samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "the row {group}/{name} has no samples");
        let sorted = sorted(samples);
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            runs: sorted.len(),
            p50: percentile(&sorted, 50.0),
            p99: percentile(&sorted, 99.0),
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            versus: None,
            ratio: None,
            bar: None,
            holds: None,
        }
    }

    /// Sets the rival, by its samples of the same run and in the same unit.
    ///
    /// # Panics
    /// When there are no samples.
    #[must_use]
    pub fn versus(mut self, name: &str, samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "{name} of the row {}/{} has no samples", self.group, self.name);
        let p50 = percentile(&sorted(samples), 50.0);
        self.ratio = (p50 != 0.0).then(|| self.p50 / p50);
        self.versus = Some(Versus { name: name.to_owned(), p50 });
        self
    }

    /// Sets what was promised and judges it. A promise about a ratio needs
    /// [`Row::versus`] first; without a rival it does not hold.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        let unit = &self.unit;
        let (text, holds) = match bar {
            Bar::AtMost(limit) => (format!("≤ {limit} {unit}"), self.p50 <= limit),
            Bar::AtLeast(limit) => (format!("≥ {limit} {unit}"), self.p50 >= limit),
            Bar::RatioAtMost(limit) => (format!("≤ {limit} ×"), self.ratio.is_some_and(|r| r <= limit)),
            Bar::RatioAtLeast(limit) => (format!("≥ {limit} ×"), self.ratio.is_some_and(|r| r >= limit)),
        };
        self.bar = Some(text);
        self.holds = Some(holds);
        self
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Nearest-rank percentile of sorted samples; the median of an even number is
/// the mean of the middle two.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let n = sorted.len();
    if percent == 50.0 && n.is_multiple_of(2) {
        return f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within 1..=n")]
    let rank = ((percent / 100.0) * n as f64).ceil() as usize;
    sorted[rank.clamp(1, n) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank_and_the_median_of_an_even_number_is_the_mean() {
        let row = Row::new("g", "n", "ns", &[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((row.runs, row.p50, row.p99, row.min, row.max), (4, 2.5, 4.0, 1.0, 4.0));
        let hundred: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(Row::new("g", "n", "ns", &hundred).p99, 198.0);
        assert_eq!(Row::new("g", "n", "ns", &[7.0]).p99, 7.0);
    }

    #[test]
    fn a_bar_is_judged_on_the_median_or_on_the_ratio() {
        let row = || Row::new("g", "n", "ns", &[50.0]);
        assert_eq!(row().bar(Bar::AtMost(60.0)).holds, Some(true));
        assert_eq!(row().bar(Bar::AtMost(49.9)).holds, Some(false));
        assert_eq!(row().bar(Bar::AtLeast(50.0)).holds, Some(true));
        let rival = row().versus("rival", &[40.0]);
        assert_eq!(rival.ratio, Some(1.25));
        assert_eq!(rival.clone().bar(Bar::RatioAtMost(1.25)).holds, Some(true));
        assert_eq!(rival.clone().bar(Bar::RatioAtMost(1.2)).holds, Some(false));
        assert_eq!(rival.bar(Bar::RatioAtLeast(1.3)).holds, Some(false));
    }

    #[test]
    fn a_ratio_bar_without_a_rival_does_not_hold() {
        let row = Row::new("g", "n", "ns", &[1.0]).bar(Bar::RatioAtMost(9.0));
        assert_eq!(row.holds, Some(false));
    }

    #[test]
    fn json_has_the_promised_fields_in_order() {
        let row = Row::new("g", "n", "ns", &[1.0]).versus("v", &[2.0]).bar(Bar::RatioAtMost(1.0));
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"group":"g","name":"n","unit":"ns","runs":1,"p50":1.0,"p99":1.0,"min":1.0,"max":1.0,"versus":{"name":"v","p50":2.0},"ratio":0.5,"bar":"≤ 1 ×","holds":true}"#
        );
    }
}
