//! The short table at the end.

use roadstead_tests::load::Report;
use std::fmt::Write as _;
use std::time::Duration;

/// What one act of the demo came to.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    outcome: &'static str,
    took: Duration,
    load: Option<Users>,
}

/// What the users noticed meanwhile.
#[derive(Debug)]
struct Users {
    requests: u64,
    failed: u64,
    p99: Duration,
    longest: Duration,
}

impl Row {
    /// An act without users.
    pub(crate) fn new(what: &str, outcome: &'static str, took: Duration) -> Self {
        Self { what: what.to_owned(), outcome, took, load: None }
    }

    /// What the loads on all hosts counted; of delays, those of the slowest host.
    pub(crate) fn load(mut self, reports: &[Report]) -> Self {
        let slowest = |percent| reports.iter().map(|report| report.percentile(percent)).max().unwrap_or_default();
        self.load = Some(Users {
            requests: reports.iter().map(Report::total).sum(),
            failed: reports.iter().map(Report::failed).sum(),
            p99: slowest(99.0),
            longest: slowest(100.0),
        });
        self
    }
}

/// The table, with a line of headings.
pub(crate) fn render(rows: &[Row]) -> String {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).len()).max().unwrap_or_default();
    let (what, outcome) = (width(|row| &row.what), width(|row| row.outcome));
    let mut text =
        format!("{:what$}  {:outcome$}  {:>6}  {:>8}  {:>6}  {:>6}  {:>7}\n", "", "", "time", "requests", "failed", "p99", "longest");
    for row in rows {
        let _infallible = write!(text, "{:what$}  {:outcome$}  {:>4.1} s", row.what, row.outcome, row.took.as_secs_f64());
        if let Some(Users { requests, failed, p99, longest }) = &row.load {
            let _infallible = write!(text, "  {requests:>8}  {failed:>6}  {:>3} ms  {:>4} ms", p99.as_millis(), longest.as_millis());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows =
            [Row::new("first", "serves", Duration::from_millis(12_340)), Row::new("second", "refused", Duration::from_secs(1)).load(&[])];
        assert_eq!(
            render(&rows),
            "                   time  requests  failed     p99  longest
first   serves   12.3 s
second  refused   1.0 s         0       0    0 ms     0 ms
"
        );
    }
}
