//! How many tests passed and failed, read from what harnesses print.

use std::ops::AddAssign;

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Counts {
    /// Understands the closing line of libtest and that of our own harness.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("test result: ") {
            let (_, numbers) = rest.split_once(". ")?;
            return Some(Self {
                passed: number(numbers, "passed")?,
                failed: number(numbers, "failed")?,
                ignored: number(numbers, "ignored")?,
            });
        }
        let (passed, failed) = line.split_once(" passed, ")?;
        let failed = failed.strip_suffix(" failed")?;
        Some(Self { passed: passed.parse().ok()?, failed: failed.parse().ok()?, ignored: 0 })
    }

    /// Understands one line of `go test -v`; tests within tests belong to theirs.
    pub(super) fn of_go_line(line: &str) -> Option<Self> {
        let one = Self::default();
        if line.starts_with("--- PASS: ") {
            Some(Self { passed: 1, ..one })
        } else if line.starts_with("--- FAIL: ") {
            Some(Self { failed: 1, ..one })
        } else if line.starts_with("--- SKIP: ") {
            Some(Self { ignored: 1, ..one })
        } else {
            None
        }
    }
}

/// The number before a word in `12 passed; 0 failed; …`.
fn number(text: &str, word: &str) -> Option<u64> {
    text.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_both_harnesses_are_understood() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.01s";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 12, failed: 3, ignored: 1 }));
        assert_eq!(
            Counts::of_line("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"),
            Some(Counts::default())
        );
        assert_eq!(
            Counts::of_line("20 passed, 2 failed"),
            Some(Counts { passed: 20, failed: 2, ignored: 0 })
        );
    }

    #[test]
    fn a_test_that_talks_of_passing_is_not_counted() {
        assert_eq!(Counts::of_line("test a::three_passed_1_failed ... ok"), None);
        assert_eq!(Counts::of_line("some passed, 1 failed"), None);
        assert_eq!(Counts::of_line("running 4 tests"), None);
    }

    #[test]
    fn go_counts_tests_and_not_their_parts() {
        assert_eq!(
            Counts::of_go_line("--- PASS: TestA (0.00s)"),
            Some(Counts { passed: 1, ..Counts::default() })
        );
        assert_eq!(
            Counts::of_go_line("--- FAIL: TestA (0.00s)"),
            Some(Counts { failed: 1, ..Counts::default() })
        );
        assert_eq!(Counts::of_go_line("    --- FAIL: TestA/b (0.00s)"), None);
        assert_eq!(Counts::of_go_line("ok  	example.org/a	0.1s"), None);
    }
}
