//! Whether it is a time at which rollouts may begin, and when the next one comes.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};
use roadstead_model::{CivilTime, Freeze, Gates, Millis, Timestamp, Window};
use roadstead_rollout::Closed;

/// Freezes and windows that are stepped over before nobody waits any longer.
const STEPS_MAX: usize = 1000;
/// A window of every week begins within so many days.
const DAYS: i64 = 8;

/// A time zone that is not known on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {0:?}: write one as in \"Europe/Berlin\" or \"UTC\"")]
pub struct UnknownTimeZone(String);

/// Whether the zone of these gates is known.
///
/// # Errors
/// [`UnknownTimeZone`].
pub fn check_time_zone(gates: &Gates) -> Result<(), UnknownTimeZone> {
    zone(gates).map(drop)
}

fn zone(gates: &Gates) -> Result<TimeZone, UnknownTimeZone> {
    let name = gates.time_zone.as_deref().unwrap_or("UTC");
    TimeZone::get(name).map_err(|_| UnknownTimeZone(name.chars().take(80).collect()))
}

/// Why no rollout begins now, and when the next one can; nothing when it can now.
pub(crate) fn closed(gates: &Gates, now: Timestamp) -> Option<Closed> {
    if gates.windows.is_empty() && gates.freezes.is_empty() {
        return None;
    }
    let calendar = match zone(gates) {
        Ok(zone) => Calendar { gates, zone },
        Err(unknown) => {
            return Some(Closed {
                why: unknown.to_string(),
                way: "abort it, apply the environment with another one, and deploy again".to_owned(),
            });
        }
    };
    let Some(now) = calendar.at(now) else {
        let (why, way) = ("the controller's clock shows a time that no calendar has".to_owned(), "set it".to_owned());
        return Some(Closed { why, way });
    };
    let why = match (calendar.freeze(&now), calendar.is_in_window(&now)) {
        (None, true) => return None,
        (Some(freeze), _) => frozen(freeze),
        (None, false) => {
            let windows: Vec<String> = gates.windows.iter().map(ToString::to_string).collect();
            format!("rollouts begin {}", windows.join(" or "))
        }
    };
    let way = match calendar.opening(now) {
        Some(opening) => format!("it opens by itself on {}", opening.strftime("%a %Y-%m-%d %H:%M %Z")),
        None => "it never opens: abort it, apply other windows and freezes, and deploy again".to_owned(),
    };
    Some(Closed { why, way })
}

/// How long it is until rollouts may begin as far as windows and freezes say so; nothing when that is never.
#[must_use]
pub fn opens_in(gates: &Gates, now: Timestamp) -> Option<Millis> {
    if gates.windows.is_empty() && gates.freezes.is_empty() {
        return Some(Millis(0));
    }
    let calendar = Calendar { gates, zone: zone(gates).ok()? };
    let opening = calendar.opening(calendar.at(now)?)?;
    let opening = u64::try_from(opening.timestamp().as_millisecond()).ok()?;
    Some(Millis(opening.saturating_sub(now.0)))
}

/// A moment for people, in UTC.
pub(crate) fn shown(moment: Timestamp) -> String {
    let at = i64::try_from(moment.0).ok().and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok());
    at.map_or_else(|| "a day that no calendar has".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn frozen(freeze: &Freeze) -> String {
    let reason = if freeze.reason.is_empty() { String::new() } else { format!(": {}", freeze.reason) };
    format!("the environment is frozen from {} until {}{reason}", freeze.from, freeze.until)
}

struct Calendar<'a> {
    gates: &'a Gates,
    zone: TimeZone,
}

impl Calendar<'_> {
    /// A moment in the zone; none for one that no calendar has.
    fn at(&self, moment: Timestamp) -> Option<Zoned> {
        let milliseconds = i64::try_from(moment.0).ok()?;
        Some(jiff::Timestamp::from_millisecond(milliseconds).ok()?.to_zoned(self.zone.clone()))
    }

    /// When clocks of the zone show that; a moment that they skip is taken as the one behind the gap.
    fn zoned(&self, time: DateTime) -> Option<Zoned> {
        time.to_zoned(self.zone.clone()).ok()
    }

    fn freeze(&self, moment: &Zoned) -> Option<&Freeze> {
        let reached = |time: CivilTime| self.zoned(civil(time)?).map(|at| *moment >= at);
        self.gates.freezes.iter().find(|freeze| reached(freeze.from) == Some(true) && reached(freeze.until) != Some(true))
    }

    fn is_in_window(&self, moment: &Zoned) -> bool {
        let today = moment.date();
        let inside = |window: &Window, date: Date| self.span(window, date).is_some_and(|(from, until)| (from..until).contains(moment));
        // One that began yesterday may last into today.
        let days = [Some(today), today.yesterday().ok()];
        self.gates.windows.is_empty() || days.into_iter().flatten().any(|date| self.gates.windows.iter().any(|window| inside(window, date)))
    }

    /// From when until when a window is open that begins on a date.
    fn span(&self, window: &Window, date: Date) -> Option<(Zoned, Zoned)> {
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        if !window.begins_on(weekday) {
            return None;
        }
        let from = clock(date, window.from())?;
        let until = from.checked_add(Span::new().minutes(i64::from(window.minutes()))).ok()?;
        Some((self.zoned(from)?, self.zoned(until)?))
    }

    /// The next moment at which it is open.
    fn opening(&self, mut moment: Zoned) -> Option<Zoned> {
        for _ in 0..STEPS_MAX {
            moment = match (self.freeze(&moment), self.is_in_window(&moment)) {
                (None, true) => return Some(moment),
                (Some(freeze), _) => self.zoned(civil(freeze.until)?)?,
                (None, false) => self.next_window(&moment)?,
            };
        }
        None
    }

    fn next_window(&self, moment: &Zoned) -> Option<Zoned> {
        let date = |ahead: i64| moment.date().checked_add(Span::new().days(ahead)).ok();
        let begins =
            (0..=DAYS).filter_map(date).flat_map(|date| self.gates.windows.iter().filter_map(move |window| self.span(window, date)));
        begins.map(|(from, _)| from).filter(|from| from > moment).min()
    }
}

fn clock(date: Date, minutes: u16) -> Option<DateTime> {
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    Some(date.to_datetime(jiff::civil::Time::new(hour, minute, 0, 0).ok()?))
}

fn civil(time: CivilTime) -> Option<DateTime> {
    let date = Date::new(i16::try_from(time.year).ok()?, i8::try_from(time.month).ok()?, i8::try_from(time.day).ok()?).ok()?;
    clock(date, time.minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(zone: &str, windows: &[&str], freezes: &[(&str, &str)]) -> Gates {
        Gates {
            time_zone: Some(zone.to_owned()),
            windows: windows.iter().map(|text| (*text).to_owned().try_into().unwrap()).collect(),
            freezes: freezes
                .iter()
                .map(|(from, until)| Freeze { from: from.parse().unwrap(), until: until.parse().unwrap(), reason: "Christmas".to_owned() })
                .collect(),
            ..Gates::default()
        }
    }

    fn at(text: &str) -> Timestamp {
        let zoned: Zoned = text.parse().unwrap();
        Timestamp(u64::try_from(zoned.timestamp().as_millisecond()).unwrap())
    }

    fn way(gates: &Gates, now: &str) -> Option<String> {
        closed(gates, at(now)).map(|closed| closed.way)
    }

    #[test]
    fn windows_open_and_close_by_the_zone_s_clock() {
        let office = gates("Europe/Berlin", &["mon-thu 09:00-16:30"], &[]);
        assert_eq!(way(&office, "2026-11-26T09:00[Europe/Berlin]"), None);
        assert_eq!(way(&office, "2026-11-26T15:29[UTC]"), None);
        let next = Some("it opens by itself on Mon 2026-11-30 09:00 CET".to_owned());
        assert_eq!(way(&office, "2026-11-26T16:30[Europe/Berlin]"), next);
        assert_eq!(way(&office, "2026-11-27T12:00[Europe/Berlin]"), next);
        assert_eq!(closed(&office, at("2026-11-27T12:00[UTC]")).unwrap().why, "rollouts begin mon,tue,wed,thu 09:00-16:30");
    }

    #[test]
    fn a_window_may_last_into_the_next_day() {
        let night = gates("UTC", &["fri 22:00-02:00"], &[]);
        assert_eq!(way(&night, "2026-11-28T01:59[UTC]"), None);
        assert!(way(&night, "2026-11-28T02:00[UTC]").unwrap().contains("Fri 2026-12-04 22:00 UTC"));
        assert!(way(&night, "2026-11-27T01:00[UTC]").unwrap().contains("Fri 2026-11-27 22:00 UTC"));
    }

    #[test]
    fn a_freeze_closes_every_window_in_it() {
        let gates = gates("Europe/Berlin", &["mon-fri 09:00-17:00"], &[("2026-12-20", "2027-01-03"), ("2027-01-03", "2027-01-05 12:00")]);
        let closed = closed(&gates, at("2026-12-22T10:00[Europe/Berlin]")).unwrap();
        assert_eq!(closed.why, "the environment is frozen from 2026-12-20 until 2027-01-03: Christmas");
        assert_eq!(closed.way, "it opens by itself on Tue 2027-01-05 12:00 CET");
        assert_eq!(way(&gates, "2026-12-18T16:59[Europe/Berlin]"), None);
    }

    /// Clocks go from 2:00 to 3:00: the window is half an hour late, and as long as the clock says.
    #[test]
    fn a_window_in_the_hour_that_is_skipped_opens_behind_it() {
        let early = gates("Europe/Berlin", &["sun 02:30-04:00"], &[]);
        assert!(way(&early, "2026-03-29T01:00[UTC]").unwrap().contains("Sun 2026-03-29 03:30 CEST"));
        assert_eq!(way(&early, "2026-03-29T01:30[UTC]"), None);
        assert!(way(&early, "2026-03-29T02:00[UTC]").is_some());
    }

    #[test]
    fn what_never_opens_says_so_and_a_zone_must_exist() {
        let frozen = gates("UTC", &["mon 09:00-10:00"], &[("2026-01-01", "9999-12-31")]);
        assert!(way(&frozen, "2026-11-30T09:30[UTC]").unwrap().starts_with("it never opens"), "to the end of the calendar");
        assert!(closed(&frozen, Timestamp(u64::MAX)).is_some());
        let nowhere = gates("Europe/Atlantis", &["mon 09:00-10:00"], &[]);
        assert!(check_time_zone(&nowhere).unwrap_err().to_string().contains("Europe/Atlantis"));
        assert!(closed(&nowhere, at("2026-11-26T09:00[UTC]")).unwrap().why.contains("Europe/Atlantis"));
        assert_eq!(closed(&Gates::default(), Timestamp(u64::MAX)), None);
    }

    proptest::proptest! {
        /// What is said to be the next opening is open, and nothing is open between now and then.
        #[test]
        fn the_next_opening_is_the_next(
            days in 0..7usize, from in 0..23u16, hours in 1..30u16, now in 1_767_000_000_000..1_800_000_000_000u64,
        ) {
            const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let text = format!("{} {from:02}:00-{:02}:30", DAYS[days], (from + hours) % 24);
            let gates = gates("Europe/Berlin", &[&text], &[("2026-06-01", "2026-06-20")]);
            let calendar = Calendar { gates: &gates, zone: zone(&gates).unwrap() };
            let now = calendar.at(Timestamp(now)).unwrap();
            let opening = calendar.opening(now.clone()).unwrap();
            let is_open = |moment: &Zoned| calendar.freeze(moment).is_none() && calendar.is_in_window(moment);
            proptest::prop_assert!(is_open(&opening));
            let mut between = now;
            while between < opening {
                proptest::prop_assert!(!is_open(&between), "{} is open, before {}", between, opening);
                between = between.checked_add(Span::new().minutes(37)).unwrap();
            }
        }
    }
}
