//! Backups of rollouts, for people and for programs.

use roadstead_model::StepName;
use roadstead_proto::v1::{Backup, Rollout, safeguard};

use crate::output::size;

/// The backup that a rollout made, and the host that keeps it.
pub(crate) fn made(rollout: &Rollout) -> Option<(&Backup, &str)> {
    let backup = looked_at(rollout).filter(|_| rollout.kind != "recheck")?;
    Some((backup, keeper(rollout)))
}

/// The backup that a rollout made, or looked at again.
pub(crate) fn looked_at(rollout: &Rollout) -> Option<&Backup> {
    match rollout.safeguard.as_ref()?.kind.as_ref()? {
        safeguard::Kind::Made(backup) => Some(backup),
        safeguard::Kind::NotNeeded(_) | safeguard::Kind::Loss(_) => None,
    }
}

/// The host that looked after the database: the one that did the step.
fn keeper(rollout: &Rollout) -> &str {
    let is_it = |step: &str| [StepName::Backup, StepName::Recheck].iter().any(|known| known.as_str() == step);
    let host = rollout.hosts.iter().find(|host| host.times.iter().any(|time| is_it(&time.step)));
    host.map_or("", |host| host.host_name.as_str())
}

/// What became of the demand for a backup, in a line; nothing before anybody looked.
pub(crate) fn line(rollout: &Rollout) -> Option<String> {
    match rollout.safeguard.as_ref()?.kind.as_ref()? {
        safeguard::Kind::Loss(_) => None,
        safeguard::Kind::NotNeeded(why) => Some(format!("none needed: {why}")),
        safeguard::Kind::Made(backup) => {
            let Backup { name, place, .. } = backup;
            Some(format!("{name}: {}, {}; {place} on {}", kept(backup), checked(backup), keeper(rollout)))
        }
    }
}

/// How large it is, and whether it can be read by everybody who has it.
pub(crate) fn kept(backup: &Backup) -> String {
    let encrypted = if backup.encrypted { ", encrypted" } else { "" };
    format!("{}{encrypted}", size(backup.bytes))
}

/// How it was checked, and what that saw.
pub(crate) fn checked(backup: &Backup) -> String {
    let words = backup.check.parse().map(|demand| match demand {
        roadstead_model::BackupDemand::AtLeast(check) => check.words(),
        roadstead_model::BackupDemand::None | roadstead_model::BackupDemand::RestoredUpTo(_) => "not checked",
    });
    let words = words.unwrap_or("checked in a way that this command does not know");
    let told = if backup.seen.is_empty() { words.to_owned() } else { format!("{words} ({})", backup.seen) };
    if backup.bad.is_empty() { told } else { format!("{told}; FOUND BAD: {}", backup.bad) }
}

/// For programs.
pub(crate) fn json(rollout: &Rollout) -> serde_json::Value {
    match rollout.safeguard.as_ref().and_then(|safeguard| safeguard.kind.as_ref()) {
        None | Some(safeguard::Kind::Loss(_)) => serde_json::Value::Null,
        Some(safeguard::Kind::NotNeeded(why)) => serde_json::json!({ "not_needed": why }),
        Some(safeguard::Kind::Made(backup)) => serde_json::json!({
            "name": backup.name,
            "host": keeper(rollout),
            "place": backup.place,
            "taken_at_ms": backup.taken_at_ms,
            "database": backup.database,
            "identity": backup.identity,
            "bytes": backup.bytes,
            "database_bytes": (backup.database_bytes > 0).then_some(backup.database_bytes),
            "digest": backup.digest,
            "encrypted": backup.encrypted,
            "check": backup.check,
            "seen": backup.seen,
            "bad": (!backup.bad.is_empty()).then_some(&backup.bad),
            "took_ms": backup.took_ms,
            "checked_in_ms": backup.checked_in_ms,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::{RolloutHost, Safeguard, StepTime};

    fn rollout(kind: Option<safeguard::Kind>) -> Rollout {
        let times = vec![StepTime { step: "backup".into(), took_ms: 5, note: String::new() }];
        let hosts = vec![
            RolloutHost { host_name: "web-1".into(), ..Default::default() },
            RolloutHost { host_name: "web-2".into(), times, ..Default::default() },
        ];
        Rollout { hosts, safeguard: Some(Safeguard { kind }), ..Default::default() }
    }

    #[test]
    fn a_check_is_named_as_what_it_was() {
        let told = |check: &str, seen: &str| {
            let backup = Backup {
                name: "erp-r-12-2".into(),
                place: "/b/erp.dump".into(),
                bytes: 4000,
                check: check.into(),
                seen: seen.into(),
                encrypted: true,
                ..Default::default()
            };
            line(&rollout(Some(safeguard::Kind::Made(backup)))).unwrap()
        };
        assert_eq!(told("restored", "2 tables"), "erp-r-12-2: 3.9 KiB, encrypted, restored and compared (2 tables); /b/erp.dump on web-2");
        assert!(told("listed", "").contains("read back, not restored;"));
        assert!(told("taken", "").contains("taken, not checked;"));
        assert!(told("blessed", "").contains("does not know"));
    }

    #[test]
    fn what_was_not_needed_says_why() {
        assert_eq!(line(&rollout(Some(safeguard::Kind::NotNeeded("empty".into())))).unwrap(), "none needed: empty");
        assert!(line(&Rollout::default()).is_none() && made(&Rollout::default()).is_none());
    }
}
