//! Prometheus' text format, written by hand: MetalLB's counters have no `_total`
//! suffix, and a registry library would add it and break every dashboard.

use std::fmt::{Display, Write as _};

/// Version 0.0.4 of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family of samples is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: self, name }
    }

    /// The finished page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// One family; see [`Page::family`].
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        for (i, (key, value)) in labels.iter().enumerate() {
            text.push(if i == 0 { '{' } else { ',' });
            let _infallible = write!(text, "{key}=\"{}\"", escape(&value.to_string()));
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _infallible = writeln!(text, " {value}");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "A.").sample(&[], 1u64);
        page.family("b", Kind::Gauge, "B.").sample(&[("x", &"q\"\\\n"), ("y", &2)], 1.5);
        assert_eq!(
            page.finish(),
            "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# HELP b B.\n# TYPE b gauge\nb{x=\"q\\\"\\\\\\n\",y=\"2\"} 1.5\n"
        );
    }
}
