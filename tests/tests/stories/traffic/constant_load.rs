//! Users of the application behind all balancers: many short requests on kept connections and on new ones, long ones, and streams.

use super::balancers::Balancers;
use crate::SOON;
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::wait_until;
use roadstead_tests::load::{Load, Report, RunningLoad};
use std::time::{Duration, Instant};

/// Between two short requests of a client: other stories run on the same processors.
const PAUSE: Duration = Duration::from_millis(100);
/// More than the whole story takes.
const LONGEST: Duration = Duration::from_secs(3600);
/// How old a long request is that has reached the application for certain.
const SURE: Duration = Duration::from_millis(500);
/// How old a request of ten seconds is at most, and a stream of five, so that what happens next happens to it.
const YOUNG: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3)];

/// What happened during one act of the story.
pub(super) struct Row {
    what: String,
    took: Duration,
    /// Slow requests and streams that were at the application when it began, and were to be there for a while.
    met: [usize; 2],
    /// Short requests, slow ones and streams that were answered until all that were under way at its end were, too.
    answered: [u64; 3],
    failed: u64,
}

/// The users: of short requests, of slow ones and of streams.
pub(super) struct ConstantLoad {
    of: [Vec<RunningLoad>; 3],
}

impl ConstantLoad {
    pub(super) fn begin(fleet: &Fleet, balancers: &Balancers<'_>) -> Self {
        let from = fleet.client();
        let (mut short, mut slow, mut stream) = (Vec::new(), Vec::new(), Vec::new());
        for address in balancers.addresses() {
            let asks = || Load::on(&address).path("/healthz").pause(PAUSE).timeout(Duration::from_secs(15)).for_at_most(LONGEST);
            short.push(asks().clients(2).start(&from));
            short.push(asks().clients(1).without_keep_alive().start(&from));
            let long = |path| Load::on(&address).path(path).clients(1).timeout(Duration::from_secs(40)).for_at_most(LONGEST).start(&from);
            slow.push(long("/slow"));
            stream.push(long("/stream"));
        }
        let load = Self { of: [short, slow, stream] };
        load.is_under_way();
        load
    }

    /// Lets something happen to users, and tells what they noticed of it. It begins when long requests and streams are under way.
    pub(super) fn during(&self, what: &str, happens: impl FnOnce()) -> Row {
        println!("=== {what}");
        let (answered, failed) = (self.answered(), self.failed());
        let mut met = [0; 2];
        let meets = || {
            met = self.met();
            met.iter().all(|requests| *requests > 0)
        };
        wait_until("a slow request and a stream to be under way", SOON, meets).unwrap();
        let began = Instant::now();
        happens();
        let took = began.elapsed();
        self.is_under_way();
        let ended: Vec<Duration> = self.all().map(RunningLoad::elapsed).collect();
        self.all().zip(ended).for_each(|(load, ended)| load.wait_for_those_before(ended, SOON).unwrap());
        let [short, slow, stream] = self.answered();
        let answered = [short - answered[0], slow - answered[1], stream - answered[2]];
        let row = Row { what: what.to_owned(), took, met, answered, failed: self.failed() - failed };
        println!("{}", row.line());
        assert_eq!(row.failed, 0, "{what}: {}", self.all().map(|load| load.report().to_string()).collect::<Vec<_>>().join("\n"));
        assert!(!row.met.contains(&0) && !row.answered.contains(&0), "{what} has to happen to each sort of requests: {}", row.line());
        row
    }

    /// How often a release has answered.
    pub(super) fn answers_of(&self, release: &str) -> u64 {
        self.all().map(|load| load.report().releases.get(release).map_or(0, |seen| seen.count)).sum()
    }

    /// Short requests go on.
    fn is_under_way(&self) {
        self.of[0].iter().for_each(|load| load.wait_for_more(20, SOON).unwrap());
    }

    /// How many slow requests and streams are at the application, and will be for a while.
    fn met(&self) -> [usize; 2] {
        let [_, slow, stream] = &self.of;
        [young(slow, YOUNG[0]), young(stream, YOUNG[1])]
    }

    fn answered(&self) -> [u64; 3] {
        self.of.each_ref().map(|loads| sum(loads, Report::good))
    }

    fn failed(&self) -> u64 {
        self.of.iter().map(|loads| sum(loads, Report::failed)).sum()
    }

    fn all(&self) -> impl Iterator<Item = &RunningLoad> {
        self.of.iter().flatten()
    }

    /// Tells how many requests failed in all.
    pub(super) fn end(self) -> u64 {
        self.all().for_each(RunningLoad::wind_down);
        let reports = self.of.into_iter().flatten().map(|load| load.stop().unwrap());
        reports.inspect(|report| println!("{report}")).map(|report| report.failed()).sum()
    }
}

/// How many requests have been under way for less than this, and for long enough to be at the application.
fn young(loads: &[RunningLoad], most: Duration) -> usize {
    let ages = |load: &RunningLoad| load.under_way().into_iter().map(|asked| load.elapsed().saturating_sub(asked)).collect::<Vec<_>>();
    loads.iter().flat_map(ages).filter(|age| (SURE..most).contains(age)).count()
}

fn sum(loads: &[RunningLoad], number: impl Fn(&Report) -> u64) -> u64 {
    loads.iter().map(|load| number(&load.report())).sum()
}

impl Row {
    fn line(&self) -> String {
        let Self { what, took, met: [slow, stream], answered: [short, slow_answered, streamed], failed } = self;
        format!("| {what} | {} s | {slow}, {stream} | {short} | {slow_answered} | {streamed} | {failed} |", took.as_secs())
    }
}

/// The rows as they stand in the documentation.
pub(super) fn table(rows: &[Row]) -> String {
    let head = "| under constant load | took | slow, streams in flight at its begin | short | slow | streams | failed |\n|---|---|---|---|---|---|---|\n";
    rows.iter().fold(head.to_owned(), |text, row| text + &row.line() + "\n")
}
