//! The table: what was promised, what was measured, and the floor beside it.

use std::fmt::Write as _;

/// How a number is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    CpuSeconds,
    Milliseconds,
    CpuMilliseconds,
    Bytes,
    PerSecond,
    Requests,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.2} s"),
            Self::CpuSeconds => format!("{value:.2} CPU-s"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::CpuMilliseconds => format!("{value:.0} CPU-ms"),
            Self::Bytes if value < 1024.0 * 1024.0 => format!("{:.1} KiB", value / 1024.0),
            Self::Bytes => format!("{:.2} MiB", value / (1024.0 * 1024.0)),
            Self::PerSecond => format!("{value:.0} a second"),
            Self::Requests => format!("{value:.0} requests"),
        }
    }
}

#[derive(Debug)]
struct Row {
    what: String,
    target: String,
    measured: String,
    floor: String,
    ratio: String,
    reached: Option<bool>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// A number that is not to be above a limit.
    pub(crate) fn at_most(&mut self, what: &str, limit: f64, unit: Unit, measured: f64) {
        let target = if limit == 0.0 { "none".to_owned() } else { format!("below {}", unit.show(limit)) };
        self.add(what, target, unit.show(measured), "–", "–", measured <= limit);
    }

    /// A number that nobody promised.
    pub(crate) fn told(&mut self, what: &str, unit: Unit, measured: f64) {
        self.put(what, "–".to_owned(), unit.show(measured), "–", "–", None);
    }

    /// A number that is not to be below a limit.
    pub(crate) fn at_least(&mut self, what: &str, limit: f64, unit: Unit, measured: f64) {
        self.add(what, format!("at least {}", unit.show(limit)), unit.show(measured), "–", "–", measured >= limit);
    }

    /// A number that is to be below so many times its floor.
    pub(crate) fn ratio(&mut self, what: &str, limit: f64, unit: Unit, measured: f64, floor: f64) {
        let ratio = measured / floor.max(f64::MIN_POSITIVE);
        let target = format!("below {limit} times the floor");
        self.add(what, target, unit.show(measured), &unit.show(floor), &format!("{ratio:.2}"), ratio < limit);
    }

    /// A number that is to be above its floor by less than a limit.
    pub(crate) fn beyond(&mut self, what: &str, limit: f64, unit: Unit, measured: f64, floor: f64) {
        let target = format!("below {} beyond the floor", unit.show(limit));
        let beyond = format!("+{}", unit.show(measured - floor));
        self.add(what, target, unit.show(measured), &unit.show(floor), &beyond, measured - floor < limit);
    }

    fn add(&mut self, what: &str, target: String, measured: String, floor: &str, ratio: &str, reached: bool) {
        self.put(what, target, measured, floor, ratio, Some(reached));
    }

    fn put(&mut self, what: &str, target: String, measured: String, floor: &str, ratio: &str, reached: Option<bool>) {
        crate::step(&format!("  {what}: {measured} (floor {floor}, {ratio}; {target})"));
        let (what, floor, ratio) = (what.to_owned(), floor.to_owned(), ratio.to_owned());
        self.0.push(Row { what, target, measured, floor, ratio, reached });
    }

    /// As it stands in the documentation.
    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| what | target | measured | floor in the same run | against the floor | reached |\n|---|---|---|---|---|---|".to_owned();
        for Row { what, target, measured, floor, ratio, reached } in &self.0 {
            let reached = match reached {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "–",
            };
            let _infallible = write!(text, "\n| {what} | {target} | {measured} | {floor} | {ratio} | {reached} |");
        }
        text
    }
}
