//! What a load counted.

use crate::load::http::Answer;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

/// How many failures are kept in full; all are counted.
const FAILURES_KEPT: usize = 50;

/// One request that a user would have noticed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was asked, since the load began.
    pub at: Duration,
    /// How long it took to fail.
    pub took: Duration,
    /// The status or the error.
    pub what: String,
}

/// When a release answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// When first, since the load began.
    pub first: Duration,
    /// When last.
    pub last: Duration,
}

/// What one client counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    statuses: BTreeMap<u16, u64>,
    releases: BTreeMap<String, Seen>,
    errors: u64,
    reopened: u64,
    failures: Vec<Failure>,
    /// In microseconds, of good answers.
    latencies: Vec<u32>,
    under_way: Option<Duration>,
}

impl Tally {
    /// A request is asked, at a time since the load began.
    pub(crate) fn begin(&mut self, at: Duration) {
        self.under_way = Some(at);
    }

    /// When the request that has no answer yet was asked.
    pub(crate) fn under_way(&self) -> Option<Duration> {
        self.under_way
    }

    pub(crate) fn count(&mut self, at: Duration, took: Duration, answer: io::Result<Answer>) {
        self.under_way = None;
        let failure = match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.reopened += u64::from(answer.reopened);
                if let Some(release) = answer.release {
                    let seen = self.releases.entry(release).or_insert(Seen { count: 0, first: at, last: at });
                    seen.count += 1;
                    seen.last = at;
                }
                (!(200..300).contains(&answer.status)).then(|| format!("status {}", answer.status))
            }
            Err(error) => {
                self.errors += 1;
                Some(error.to_string())
            }
        };
        match failure {
            None => self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
            Some(what) if self.failures.len() < FAILURES_KEPT => self.failures.push(Failure { at, took, what }),
            Some(_) => {}
        }
    }
}

/// What all clients counted together.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How long the load has run.
    pub elapsed: Duration,
    /// How often each status came.
    pub statuses: BTreeMap<u16, u64>,
    /// Which releases answered (header `x-release`), and when.
    pub releases: BTreeMap<String, Seen>,
    /// Requests without a whole answer.
    pub errors: u64,
    /// Kept connections that the server had closed between two requests; the request was sent again and is not a failure.
    pub reopened: u64,
    /// The first failures of each client, by time.
    pub failures: Vec<Failure>,
    /// Latencies of good answers in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Report {
    pub(crate) fn of(tallies: impl Iterator<Item = Tally>, elapsed: Duration) -> Self {
        let mut report = Self { elapsed, ..Self::default() };
        for tally in tallies {
            for (status, count) in tally.statuses {
                *report.statuses.entry(status).or_default() += count;
            }
            for (release, seen) in tally.releases {
                let all = report.releases.entry(release).or_insert(Seen { count: 0, ..seen });
                *all = Seen { count: all.count + seen.count, first: all.first.min(seen.first), last: all.last.max(seen.last) };
            }
            report.errors += tally.errors;
            report.reopened += tally.reopened;
            report.failures.extend(tally.failures);
            report.latencies.extend(tally.latencies);
        }
        report.failures.sort_by_key(|failure| failure.at);
        report.latencies.sort_unstable();
        report
    }

    /// Answers with 2xx.
    pub fn good(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// Requests that a user would have noticed: no whole answer, or none with 2xx.
    pub fn failed(&self) -> u64 {
        self.total() - self.good()
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.errors + self.statuses.values().sum::<u64>()
    }

    /// The latency that so many per cent of the good answers did not exceed; 50 is the median, 100 the longest.
    pub fn percentile(&self, percent: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let share = (percent.clamp(0.0, 100.0) * 10.0).round() / 1000.0;
        // between 0 and `last`, so neither sign nor size can be lost
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank in a list")]
        let rank = (last as f64 * share).ceil() as usize;
        Duration::from_micros(u64::from(self.latencies.get(rank.min(last)).copied().unwrap_or_default()))
    }

    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let good = self.good() as f64;
        good / self.elapsed.as_secs_f64().max(0.001)
    }
}

impl fmt::Display for Report {
    /// One line of numbers, then the first failures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        write!(
            f,
            "{} requests in {:.1} s, {} failed; p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            self.total(),
            self.elapsed.as_secs_f64(),
            self.failed(),
            millis(50.0),
            millis(99.0),
            millis(100.0)
        )?;
        for (release, seen) in &self.releases {
            write!(f, "\n  {release}: {} answers from {:.2} s to {:.2} s", seen.count, seen.first.as_secs_f64(), seen.last.as_secs_f64())?;
        }
        for failure in self.failures.iter().take(10) {
            write!(f, "\n  failed at {:.3} s after {:.0?}: {}", failure.at.as_secs_f64(), failure.took, failure.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, release: &str) -> io::Result<Answer> {
        Ok(Answer { status, release: Some(release.into()), reopened: false })
    }

    #[test]
    fn everything_is_counted_once() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        let at = Duration::from_millis;
        for number in 1..=99 {
            one.count(at(number), at(number), answer(200, "a"));
        }
        two.count(at(50), at(1000), answer(200, "b"));
        two.count(at(70), at(1), answer(502, "b"));
        two.count(at(60), at(1), Err(io::ErrorKind::ConnectionRefused.into()));
        let report = Report::of([one, two].into_iter(), at(2000));
        assert_eq!((report.total(), report.good(), report.failed()), (102, 100, 2));
        assert_eq!(report.releases["a"], Seen { count: 99, first: at(1), last: at(99) });
        assert_eq!(report.releases["b"], Seen { count: 2, first: at(50), last: at(70) });
        assert_eq!(report.percentile(100.0), at(1000));
        assert_eq!(report.percentile(0.0), at(1));
        assert_eq!(report.percentile(50.0), at(51));
        assert_eq!(report.failures.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(), ["connection refused", "status 502"]);
        assert!((report.rate() - 50.0).abs() < 0.01);
    }

    #[test]
    fn a_request_is_under_way_until_it_is_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.under_way(), None);
        tally.begin(Duration::from_millis(7));
        assert_eq!(tally.under_way(), Some(Duration::from_millis(7)));
        tally.count(Duration::from_millis(7), Duration::from_millis(1), answer(200, "a"));
        assert_eq!(tally.under_way(), None);
    }

    #[test]
    fn nothing_counted_is_zero() {
        let report = Report::of(std::iter::empty(), Duration::ZERO);
        assert_eq!((report.total(), report.percentile(99.0)), (0, Duration::ZERO));
        assert!(report.to_string().starts_with("0 requests"));
    }
}
