//! What a restore would lose, and what it lost, for people and for programs.

use roadstead_model::Loss;
use roadstead_proto::v1::{self, Rollout};
use std::fmt::Write as _;

use super::moment;

/// Lines of one list that a head shows; the whole of it is in the survey and in `--output json`.
const SHOWN_MAX: usize = 12;

/// What a restore would lose, told in full.
pub(crate) fn survey(rollout: &Rollout) -> Option<String> {
    let loss = read(rollout.survey.as_ref())?;
    let mut text = format!("r-{}  restoring {} would lose\n", rollout.id, loss.evidence.name);
    text.push_str(&told(&loss, usize::MAX));
    let _infallible = writeln!(text, "      the release {} serves behind it", rollout.release);
    Some(text)
}

/// What a rollout's head says of it: what was lost, once that is known; before, what would be.
pub(super) fn lines(rollout: &Rollout) -> Option<String> {
    if let Some(lost) = read(rollout.loss.as_ref()) {
        return Some(format!("      lost\n{}", told(&lost, SHOWN_MAX)));
    }
    let decides = rollout.phase == "deciding";
    let survey = read(rollout.survey.as_ref())?;
    decides.then(|| format!("      it would lose\n{}", told(&survey, SHOWN_MAX)))
}

fn read(wire: Option<&v1::Loss>) -> Option<Loss> {
    wire.and_then(|loss| Loss::try_from(loss.clone()).ok())
}

fn told(loss: &Loss, shown: usize) -> String {
    let mut text = String::new();
    let since = loss.looked_at.since(loss.evidence.taken_at);
    let mut line = |words: &str| {
        let _infallible = writeln!(text, "      - {words}");
    };
    line(&format!("what was written in the {since} since {}", moment(loss.evidence.taken_at.0)));
    let hidden = loss.tables.len().saturating_sub(shown);
    loss.tables.iter().take(shown).for_each(|table| line(&table.words(loss.exact)));
    let more = hidden + loss.more as usize;
    if more > 0 {
        line(&format!("{more} more tables differ"));
    }
    line(&format!("{} tables are the same{}", loss.same, if loss.exact { "" } else { " by their number of rows" }));
    loss.shape.iter().take(shown).for_each(|shape| line(shape));
    if !loss.migrations.is_empty() {
        line(&format!("migrations are not applied any more: {}", loss.migrations.join(", ")));
    }
    loss.notes.iter().for_each(|note| line(note));
    if !loss.kept_as.is_empty() {
        let kept = &loss.kept_as;
        line(&format!("the database of before is kept as {kept}, read-only; when nobody needs it any more: DROP DATABASE {kept}"));
    }
    text
}

/// For programs; nothing for what is no restore.
pub(super) fn json(rollout: &Rollout) -> serde_json::Value {
    if rollout.kind != "restore" {
        return serde_json::Value::Null;
    }
    serde_json::json!({
        "backup": rollout.backup,
        "accepted_by": (!rollout.accepted_by.is_empty()).then_some(&rollout.accepted_by),
        "survey": read(rollout.survey.as_ref()),
        "loss": read(rollout.loss.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{Backup, TableLoss, Timestamp, samples};

    fn loss(exact: bool) -> Loss {
        let backup = Backup { taken_at: Timestamp(0), ..samples::backup("erp-r-12-1795781882") };
        let table = |n: u64| TableLoss {
            name: format!("public.t{n}"),
            then: Some(3),
            now: Some(3 + n),
            lost: exact.then_some(n),
            changed: exact.then_some(1),
            returned: exact.then_some(0),
        };
        Loss {
            looked_at: Timestamp(600_000),
            exact,
            tables: (1..=14).map(table).collect(),
            more: 2,
            same: 20,
            shape: vec!["column \"email\" of public.t1 is back, with 3 values".into()],
            migrations: vec!["customers.0004_note".into()],
            kept_as: if exact { "erp_before_restore_20261127_153000".into() } else { String::new() },
            ..samples::loss(backup)
        }
    }

    #[test]
    fn the_loss_is_told_before_and_after() {
        let mut rollout = Rollout { id: 9, phase: "deciding".into(), release: "1.1.0-0123456789ab".into(), ..Default::default() };
        assert!(lines(&rollout).is_none() && json(&rollout).is_null());
        rollout.survey = Some(loss(false).into());
        let before = lines(&rollout).unwrap();
        assert!(
            before.contains("it would lose") && before.contains("at least 1 are lost") && before.contains("4 more tables differ"),
            "{before}"
        );
        let whole = survey(&rollout).unwrap();
        assert!(
            whole.contains("public.t14") && whole.contains("2 more tables differ") && whole.contains("1.1.0-0123456789ab serves"),
            "{whole}"
        );
        rollout.loss = Some(loss(true).into());
        let after = lines(&rollout).unwrap();
        for says in [
            "1 row is lost, 1 row has older values again",
            "DROP DATABASE erp_before",
            "column \"email\"",
            "customers.0004_note",
            "in the 10 min since",
        ] {
            assert!(after.contains(says), "{says}: {after}");
        }
    }
}
