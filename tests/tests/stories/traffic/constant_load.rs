//! Users of the application behind all balancers: many short requests on kept connections and on new ones, long ones, and streams.

use super::balancers::Balancers;
use crate::SOON;
use roadstead_tests::fleet::Fleet;
use roadstead_tests::load::{Load, RunningLoad};
use std::time::{Duration, Instant};

/// More than the whole story takes.
const LONGEST: Duration = Duration::from_secs(1500);

/// What happened during one act of the story.
pub(super) struct Row {
    what: String,
    took: Duration,
    requests: u64,
    failed: u64,
}

/// The users.
pub(super) struct ConstantLoad {
    short: Vec<RunningLoad>,
    long: Vec<RunningLoad>,
}

impl ConstantLoad {
    pub(super) fn begin(fleet: &Fleet, balancers: &Balancers<'_>) -> Self {
        let from = fleet.client();
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for address in balancers.addresses() {
            let asks = || {
                Load::on(&address).path("/healthz").pause(Duration::from_millis(20)).timeout(Duration::from_secs(15)).for_at_most(LONGEST)
            };
            short.push(asks().clients(2).start(&from));
            short.push(asks().clients(1).without_keep_alive().start(&from));
            for path in ["/slow", "/stream"] {
                long.push(Load::on(&address).path(path).clients(1).timeout(Duration::from_secs(40)).for_at_most(LONGEST).start(&from));
            }
        }
        let load = Self { short, long };
        load.is_under_way();
        load
    }

    /// What happens next happens to everybody: long requests and streams follow each other without a pause.
    fn is_under_way(&self) {
        self.short.iter().for_each(|load| load.wait_for_more(20, SOON).unwrap());
    }

    /// Lets something happen to users, and tells what they noticed of it so far.
    pub(super) fn during(&self, what: &str, happens: impl FnOnce()) -> Row {
        let sum = || self.all().map(|load| load.report().good()).sum::<u64>();
        let failed = || self.all().map(|load| load.report().failed()).sum::<u64>();
        let (requests, failed_before, began) = (sum(), failed(), Instant::now());
        happens();
        let took = began.elapsed();
        self.is_under_way();
        let row = Row { what: what.to_owned(), took, requests: sum() - requests, failed: failed() - failed_before };
        assert_eq!(row.failed, 0, "{what}: {}", self.all().map(|load| load.report().to_string()).collect::<Vec<_>>().join("\n"));
        row
    }

    fn all(&self) -> impl Iterator<Item = &RunningLoad> {
        self.short.iter().chain(&self.long)
    }

    /// Tells how many requests failed in all.
    pub(super) fn end(self) -> u64 {
        self.all().for_each(RunningLoad::wind_down);
        let reports = self.short.into_iter().chain(self.long).map(|load| load.stop().unwrap());
        reports.inspect(|report| println!("{report}")).map(|report| report.failed()).sum()
    }
}

/// The rows as they stand in the documentation.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| under constant load | took | requests | failed |\n|---|---|---|---|\n");
    for Row { what, took, requests, failed } in rows {
        text.push_str(&format!("| {what} | {} s | {requests} | {failed} |\n", took.as_secs()));
    }
    text
}
