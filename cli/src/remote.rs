//! The controller as the command sees it: where it is, who we are to it, one call after another, and its answers as text.

mod analysis_section;
pub(crate) mod backup_view;
pub(crate) mod causes;
mod connection;
mod database_section;
pub(crate) mod drift;
pub(crate) mod environment_file;
mod excerpt;
pub(crate) mod explain;
mod gates_section;
mod looks_view;
pub(crate) mod loss_view;
pub(crate) mod outlook_view;
mod refusal;
mod renewal;
mod rollout_lines;
mod rollout_table;
pub(crate) mod rollout_view;
pub(crate) mod spans;
mod strategy_section;
pub(crate) mod traffic;
mod traffic_section;
pub(crate) mod watch;

pub(crate) use connection::{Config, Controller, enrolling, folder, read_config};
pub(crate) use refusal::unconnected;

use std::fmt::Write as _;

/// Now, in milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().try_into().unwrap_or(0)
}

/// A point in time for people: local, with its zone. Empty for 0, which means never.
pub(crate) fn moment(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().filter(|ms| *ms != 0).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()).unwrap_or_default()
}

/// Bytes as people compare them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
