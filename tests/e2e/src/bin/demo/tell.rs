//! How the demo speaks: numbered steps with their times, a table at the end.

use anyhow::Result;
use clarion_lab::Lab;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use console::style;
use serde_json::json;
use std::time::Duration;

/// One step as it goes into the table and the JSON file.
#[derive(Debug)]
struct Step {
    name: String,
    ok: bool,
    /// What was measured, which is not always the time that the step took.
    took: Duration,
    detail: String,
}

/// Tells the story and remembers the steps.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    steps: Vec<Step>,
}

impl Teller {
    /// What this is.
    pub(crate) fn title(&self) {
        println!(
            "{}",
            style("Clarion: addresses for Services of type LoadBalancer, answered in the kernel").bold()
        );
        println!("A whole cluster in network namespaces; your own network is not touched.\n");
    }

    /// A part of a step that takes its time.
    pub(crate) fn part(&self, what: &str, took: Duration) {
        println!("     {} {}", style(format!("{:>9}", milliseconds(took))).dim(), style(what).dim());
    }

    /// A step that went well. `see` are commands that show the same, or lines of output.
    pub(crate) fn passed(&mut self, name: &str, took: Duration, detail: &str, see: &[String]) {
        self.line(&style("✓").green().to_string(), name, took, detail);
        for line in see.iter().flat_map(|text| text.lines()) {
            println!("       {}", style(line).dim());
        }
        self.steps.push(Step { name: name.to_owned(), ok: true, took, detail: detail.to_owned() });
    }

    /// A step that failed, with everything that is known about why.
    pub(crate) fn failed(&mut self, name: &str, took: Duration, error: &anyhow::Error) {
        self.line(&style("✗").red().to_string(), name, took, "");
        println!("{error:#}");
        let text = format!("{error:#}");
        let first = text.lines().next().unwrap_or_default().to_owned();
        self.steps.push(Step { name: name.to_owned(), ok: false, took, detail: first });
    }

    fn line(&self, mark: &str, name: &str, took: Duration, detail: &str) {
        let number = self.steps.len() + 1;
        println!("{mark} {number:>2}  {:<34} {:>9}   {detail}", style(name).bold(), milliseconds(took));
    }

    /// A remark.
    pub(crate) fn note(&self, text: &str) {
        println!("{text}");
    }

    /// All steps once more.
    pub(crate) fn table(&self) {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY).set_header(["", "step", "time", ""]);
        for step in &self.steps {
            table.add_row([
                Cell::new(if step.ok { "✓" } else { "✗" }),
                Cell::new(&step.name),
                Cell::new(milliseconds(step.took)).set_alignment(CellAlignment::Right),
                Cell::new(&step.detail),
            ]);
        }
        println!("\n{table}");
    }

    /// The steps for a program.
    pub(crate) fn json(&self) -> Result<String> {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|s| json!({"name": s.name, "ok": s.ok, "ms": s.took.as_micros() as f64 / 1000.0, "detail": s.detail}))
            .collect();
        Ok(serde_json::to_string_pretty(&json!({ "steps": steps }))? + "\n")
    }

    /// Whether there were steps and none failed.
    pub(crate) fn all_ok(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|s| s.ok)
    }

    /// Leaves the lab to a person until Enter, end of input or Ctrl-C.
    pub(crate) fn hold(&self, lab: &Lab) -> Result<()> {
        println!("\n{} In another terminal, as root:\n", style("The lab is yours.").bold());
        println!("{}", lab.directions());
        println!("\nTry: kubectl create deployment mine --image=lab/http --port=8080");
        println!("     kubectl expose deployment mine --type=LoadBalancer --port=80 --target-port=8080");
        println!("\n{}", style("Enter or Ctrl-C ends it and leaves nothing behind.").bold());
        std::io::stdin().read_line(&mut String::new())?;
        Ok(())
    }
}

/// Digits as a reader wants them: 0.02 ms, 1.4 ms, 12 ms, 5031 ms.
fn milliseconds(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_times_have_digits_and_large_ones_none() {
        let text = |micros| milliseconds(Duration::from_micros(micros));
        assert_eq!([text(21), text(1400), text(5_031_400)], ["0.02 ms", "1.4 ms", "5031 ms"]);
    }

    #[test]
    fn a_failed_step_is_in_the_json_and_in_the_exit_code() {
        let mut teller = Teller::default();
        assert!(!teller.all_ok(), "no step is no success");
        teller.passed("one", Duration::from_millis(2), "fine", &[]);
        assert!(teller.all_ok());
        teller.failed("two", Duration::ZERO, &anyhow::anyhow!("broken\nlong"));
        assert!(!teller.all_ok());
        let value: serde_json::Value = serde_json::from_str(&teller.json().expect("JSON")).expect("parses");
        assert_eq!(value["steps"][0]["ms"], 2.0);
        assert_eq!(value["steps"][1]["ok"], false);
        assert_eq!(value["steps"][1]["detail"], "broken");
    }
}
