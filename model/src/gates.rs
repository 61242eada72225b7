//! What a rollout waits for before it begins: approvals, times at which releases may go, and another environment that had them first.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::{EnvironmentName, Millis, RoleName};

/// The gates of an environment. Without any, rollouts begin at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Who must approve; never who asked for the rollout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// The zone that windows and freezes are told in, by its IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// When rollouts may begin, every week; at any time when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// When none begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
    /// Where the release must have been well before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

impl Gates {
    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// So many people of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Which role.
    pub role: RoleName,
    /// How many of those who have it.
    pub count: u32,
}

/// The release must have served another environment of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Which environment.
    pub environment: EnvironmentName,
    /// For how long since its rollout there was done.
    pub healthy_for: Millis,
}

/// Days of a week, from Monday.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: u16 = 24 * 60;

/// A time of the week in which rollouts may begin, such as `mon-thu 09:00-16:30`, `sat,sun 10:00-12:00`, `fri 22:00-02:00`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    days: [bool; 7],
    from: u16,
    until: u16,
}

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no window: write days and times, such as \"mon-thu 09:00-16:30\" or \"sat,sun 22:00-02:00\"")]
pub struct InvalidWindow(String);

impl Window {
    /// Whether it begins on a day of the week; 0 is Monday.
    #[must_use]
    pub fn begins_on(&self, day: usize) -> bool {
        self.days.get(day).copied().unwrap_or(false)
    }

    /// When it begins, in minutes of its day.
    #[must_use]
    pub const fn from(&self) -> u16 {
        self.from
    }

    /// How long it lasts, in minutes. One that ends no later than it begins ends on the next day.
    #[must_use]
    pub const fn minutes(&self) -> u16 {
        if self.until > self.from { self.until - self.from } else { MINUTES_PER_DAY - self.from + self.until }
    }

    fn read(text: &str) -> Option<Self> {
        let (days, times) = text.trim().split_once(' ')?;
        let day = |name: &str| DAYS.iter().position(|day| *day == name);
        let mut chosen = [false; 7];
        for part in days.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // From Friday to Monday is over the weekend.
            let count = (last + 7 - first) % 7;
            (0..=count).for_each(|offset| chosen[(first + offset) % 7] = true);
        }
        let (from, until) = times.trim().split_once('-')?;
        let (from, until) = (minutes(from)?, minutes(until)?);
        (from < MINUTES_PER_DAY && from != until).then_some(Self { days: chosen, from, until })
    }
}

/// `09:30` as minutes of the day; `24:00` is its end.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= MINUTES_PER_DAY).then_some(all)
}

fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for Window {
    type Error = InvalidWindow;
    fn try_from(text: String) -> Result<Self, InvalidWindow> {
        Self::read(&text).ok_or_else(|| InvalidWindow(text.chars().take(80).collect()))
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS.iter().zip(self.days).filter(|(_, is)| *is).map(|(day, _)| *day).collect();
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{} {}-{}", days.join(","), time(self.from), time(self.until))
    }
}

/// A time in which no rollout begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// From when.
    pub from: CivilTime,
    /// Until when.
    pub until: CivilTime,
    /// Why, for whoever waits.
    #[serde(default)]
    pub reason: String,
}

/// A date with a time of day, without a zone: `2026-12-20 08:00`, or `2026-12-20`, which is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CivilTime {
    /// The year, 2000 to 9999.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// Minutes of the day.
    pub minutes: u16,
}

/// A text that is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date: write \"2026-12-20\" or \"2026-12-20 08:00\"")]
pub struct InvalidCivilTime(String);

impl CivilTime {
    fn read(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(' ').map_or((text, None), |(date, time)| (date, Some(time)));
        let parts: Vec<&str> = date.split('-').collect();
        let [year, month, day] = parts[..] else { return None };
        let sized = (year.len(), month.len(), day.len()) == (4, 2, 2);
        let (year, month, day) = (digits(year)?, u8::try_from(digits(month)?).ok()?, u8::try_from(digits(day)?).ok()?);
        let minutes = time.map_or(Some(0), minutes).filter(|minutes| *minutes < MINUTES_PER_DAY)?;
        let exists = year >= 2000 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        (sized && exists).then_some(Self { year, month, day, minutes })
    }
}

const fn days_in(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for CivilTime {
    type Err = InvalidCivilTime;
    fn from_str(text: &str) -> Result<Self, InvalidCivilTime> {
        Self::read(text).ok_or_else(|| InvalidCivilTime(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for CivilTime {
    type Error = InvalidCivilTime;
    fn try_from(text: String) -> Result<Self, InvalidCivilTime> {
        text.parse()
    }
}

impl From<CivilTime> for String {
    fn from(time: CivilTime) -> Self {
        time.to_string()
    }
}

impl fmt::Display for CivilTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)?;
        if self.minutes == 0 { Ok(()) } else { write!(f, " {:02}:{:02}", self.minutes / 60, self.minutes % 60) }
    }
}

/// Gates that could never open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGates {
    /// Times without a zone.
    #[error("windows and freezes need a time-zone, such as \"Europe/Berlin\" or \"UTC\"")]
    NoTimeZone,
    /// Nobody is asked.
    #[error("the role {0} is to approve 0 times: leave the line out")]
    NobodyApproves(RoleName),
    /// The same role in two rules.
    #[error("the role {0} stands in two approvals: add up what they want")]
    RoleTwice(RoleName),
    /// A freeze that ends before it begins.
    #[error("the freeze from {0} ends at {1}, before it begins")]
    EndsBeforeItBegins(CivilTime, CivilTime),
    /// A reason that no line holds.
    #[error("the reason of the freeze from {0} has more than one line, or more than 200 characters")]
    Reason(CivilTime),
    /// An environment that waits for itself.
    #[error("{0} cannot wait until a release was well in {0} itself")]
    AfterItself(EnvironmentName),
    /// More than anybody reads.
    #[error("{0} are more than an environment has of them ({max})", max = crate::limits::GATES_MAX)]
    TooMany(&'static str),
}

impl Gates {
    /// Whether they can open, as far as they tell.
    ///
    /// # Errors
    /// [`InvalidGates`] for the first reason why not.
    pub fn check(&self, environment: &EnvironmentName) -> Result<(), InvalidGates> {
        let counts = [("approvals", self.approvals.len()), ("windows", self.windows.len()), ("freezes", self.freezes.len())];
        if let Some((what, _)) = counts.iter().find(|(_, count)| *count > crate::limits::GATES_MAX) {
            return Err(InvalidGates::TooMany(what));
        }
        if self.time_zone.is_none() && !(self.windows.is_empty() && self.freezes.is_empty()) {
            return Err(InvalidGates::NoTimeZone);
        }
        for (index, rule) in self.approvals.iter().enumerate() {
            if rule.count == 0 {
                return Err(InvalidGates::NobodyApproves(rule.role.clone()));
            }
            if self.approvals[..index].iter().any(|other| other.role == rule.role) {
                return Err(InvalidGates::RoleTwice(rule.role.clone()));
            }
        }
        if let Some(freeze) = self.freezes.iter().find(|freeze| freeze.until <= freeze.from) {
            return Err(InvalidGates::EndsBeforeItBegins(freeze.from, freeze.until));
        }
        let is_line = |text: &str| text.chars().count() <= 200 && !text.contains(char::is_control);
        if let Some(freeze) = self.freezes.iter().find(|freeze| !is_line(&freeze.reason)) {
            return Err(InvalidGates::Reason(freeze.from));
        }
        match &self.after {
            Some(after) if after.environment == *environment => Err(InvalidGates::AfterItself(environment.clone())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn windows_are_days_and_times() {
        assert_eq!(window("mon-thu 09:00-16:30").to_string(), "mon,tue,wed,thu 09:00-16:30");
        assert_eq!(window("fri-mon 00:00-24:00").to_string(), "mon,fri,sat,sun 00:00-24:00");
        assert_eq!(window("sat,sun 22:00-02:00").minutes(), 240);
        assert_eq!(window("sun 00:00-24:00").minutes(), 1440);
        for bad in [
            "",
            "mon",
            "mon 9:00-10:00",
            "mon 09:00",
            "mon 09:00-09:00",
            "mon 24:00-02:00",
            "mon 09:00-24:01",
            "mon 09:60-10:00",
            "lun 09:00-10:00",
            "mon- 09:00-10:00",
            "mon 09:00-10:00 UTC",
        ] {
            assert!(Window::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_exist() {
        for (text, told) in [("2026-12-20", "2026-12-20"), ("2028-02-29 08:05", "2028-02-29 08:05"), ("2026-12-20 00:00", "2026-12-20")] {
            assert_eq!(text.parse::<CivilTime>().unwrap().to_string(), told);
        }
        for bad in [
            "",
            "2026-13-01",
            "2026-02-29",
            "2026-2-1",
            "1999-01-01",
            "2026-01-01 24:00",
            "2026-01-01T08:00",
            "2026-01-01-01",
            "+026-01-01",
        ] {
            assert!(bad.parse::<CivilTime>().is_err(), "{bad}");
        }
    }

    #[test]
    fn gates_that_never_open_are_refused() {
        let production = EnvironmentName::parse("production").unwrap();
        let role = RoleName::parse("dba").unwrap();
        let told = |gates: Gates| gates.check(&production).unwrap_err().to_string();
        let rule = |count| ApprovalRule { role: role.clone(), count };
        let freeze = Freeze { from: "2026-12-24".parse().unwrap(), until: "2026-12-20".parse().unwrap(), reason: String::new() };
        let zone = Some("UTC".to_owned());
        assert_eq!(told(Gates { approvals: vec![rule(0)], ..Gates::default() }), "the role dba is to approve 0 times: leave the line out");
        assert!(told(Gates { approvals: vec![rule(1), rule(2)], ..Gates::default() }).contains("two approvals"));
        assert!(told(Gates { windows: vec![window("mon 09:00-10:00")], ..Gates::default() }).contains("need a time-zone"));
        assert_eq!(
            told(Gates { freezes: vec![freeze], time_zone: zone, ..Gates::default() }),
            "the freeze from 2026-12-24 ends at 2026-12-20, before it begins"
        );
        let after = After { environment: production.clone(), healthy_for: Millis(1) };
        assert!(told(Gates { after: Some(after), ..Gates::default() }).contains("production itself"));
        assert_eq!(Gates { approvals: vec![rule(2)], ..Gates::default() }.check(&production), Ok(()));
    }
}
