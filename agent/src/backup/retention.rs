//! Which backups stay: so many of the newest, as long as they are young enough, and always the last good one.

use roadstead_model::{Backup, BackupCheck, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// The names of those that go. The one that was just made stays, whatever a clock said when others were, and the newest whatever its age. Of
/// those that were checked best, and were not found bad since, the newest stays, too: while a lighter check is all that newer ones had, the last one that was restored is
/// what a restore can be trusted to.
pub(crate) fn expired(backups: &[Backup], fresh: &str, keep: u32, keep_for: Option<Duration>, now: Timestamp) -> BTreeSet<String> {
    let mut newest: Vec<&Backup> = backups.iter().collect();
    newest.sort_by(|a, b| (b.taken_at, &b.name).cmp(&(a.taken_at, &a.name)));
    let best =
        BackupCheck::ALL.into_iter().rev().find_map(|check| newest.iter().find(|backup| backup.check == check && backup.bad.is_empty()));
    let last_good: BTreeSet<&str> = newest.first().into_iter().chain(best).map(|backup| backup.name.as_str()).chain([fresh]).collect();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let too_old = |backup: &Backup| keep_for.is_some_and(|span| u128::from(now.0.saturating_sub(backup.taken_at.0)) > span.as_millis());
    let goes = |(place, backup): &(usize, &&Backup)| (*place >= keep || too_old(backup)) && !last_good.contains(backup.name.as_str());
    newest.iter().enumerate().filter(goes).map(|(_, backup)| backup.name.clone()).collect()
}

#[cfg(test)]
pub(crate) fn sample(name: &str, taken_at: u64, check: BackupCheck) -> Backup {
    Backup { taken_at: Timestamp(taken_at), check, ..roadstead_model::samples::backup(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(backups: &[(u64, BackupCheck)], keep: u32, days: Option<u64>, now_day: u64) -> Vec<String> {
        let day = 86_400_000;
        let backups: Vec<Backup> = backups.iter().enumerate().map(|(n, (at, check))| sample(&format!("b{n}"), at * day, *check)).collect();
        let keep_for = days.map(|days| Duration::from_secs(days * 86_400));
        expired(&backups, "", keep, keep_for, Timestamp(now_day * day)).into_iter().collect()
    }

    #[test]
    fn the_oldest_go_first() {
        use BackupCheck::Restored;
        assert_eq!(of(&[(1, Restored), (2, Restored), (3, Restored)], 2, None, 100), ["b0"]);
        assert_eq!(of(&[(1, Restored), (50, Restored), (99, Restored)], 9, Some(30), 100), ["b0", "b1"]);
    }

    #[test]
    fn the_last_good_one_stays_behind_any_number_of_lesser_ones() {
        use BackupCheck::{Restored, Taken};
        assert_eq!(of(&[(1, Restored), (2, Restored), (3, Taken), (4, Taken)], 1, Some(1), 400), ["b0", "b2"]);
    }

    #[test]
    fn a_clock_that_was_ahead_takes_away_nothing_that_is_new() {
        let backups = [sample("ahead", 900, BackupCheck::Restored), sample("fresh", 100, BackupCheck::Restored)];
        assert!(expired(&backups, "fresh", 1, Some(Duration::from_millis(1)), Timestamp(200)).is_empty());
    }

    proptest! {
        #[test]
        fn never_all_and_never_the_best(
            backups in proptest::collection::vec((0..400_u64, 0..3_usize), 1..20), keep in 1..10_u32, days in proptest::option::of(1..60_u64),
        ) {
            let backups: Vec<_> = backups.into_iter().map(|(at, check)| (at, BackupCheck::ALL[check])).collect();
            let gone = of(&backups, keep, days, 400);
            let stays = |n: usize| !gone.contains(&format!("b{n}"));
            let best = backups.iter().map(|(_, check)| *check).max().unwrap();
            prop_assert!(backups.iter().enumerate().any(|(n, (_, check))| *check == best && stays(n)));
            let newest = backups.iter().map(|(at, _)| *at).max().unwrap();
            prop_assert!(backups.iter().enumerate().any(|(n, (at, _))| *at == newest && stays(n)));
        }
    }
}
