//! Users of the application: short requests on kept connections and on new ones, and streams of two seconds, without a pause.

use crate::SOON;
use roadstead_tests::fleet::Fleet;
use roadstead_tests::load::{Load, RunningLoad};
use std::time::Duration;

/// More than all kills take.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// The users.
pub(super) struct Users(Vec<RunningLoad>);

/// What users had noticed when a kill began.
pub(super) struct Seen {
    requests: u64,
    failed: u64,
    /// What failed because a host had no power.
    pub(super) in_the_moment: Option<u64>,
}

impl Users {
    pub(super) fn begin(fleet: &Fleet) -> Self {
        let (from, address) = (fleet.client(), format!("{}:80", fleet.further[0].ip()));
        let asks = |path: &str| Load::on(&address).path(path).clients(1).timeout(Duration::from_secs(20)).for_at_most(LONGEST);
        let short = asks("/healthz").pause(Duration::from_millis(20));
        let users = Self(vec![
            short.clone().clients(2).start(&from),
            short.without_keep_alive().start(&from),
            asks("/stream").clients(2).start(&from),
        ]);
        users.go_on();
        users
    }

    /// Everybody has had further answers.
    pub(super) fn go_on(&self) {
        self.0.iter().for_each(|load| load.wait_for_more(4, SOON).unwrap());
    }

    pub(super) fn look(&self) -> Seen {
        Seen { requests: self.good(), failed: self.failed(), in_the_moment: None }
    }

    fn good(&self) -> u64 {
        self.0.iter().map(|load| load.report().good()).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.0.iter().map(|load| load.report().failed()).sum()
    }

    /// How many requests were answered since; an error where one failed that was not of the moment of a power cut.
    pub(super) fn since(&self, seen: &Seen) -> Result<u64, String> {
        self.go_on();
        let failed = self.failed() - seen.failed - seen.in_the_moment.unwrap_or(0);
        if failed > 0 {
            let told: Vec<String> = self.0.iter().map(|load| load.report().to_string()).collect();
            return Err(format!("{failed} requests failed: {}", told.join("\n")));
        }
        Ok(self.good() - seen.requests)
    }
}
