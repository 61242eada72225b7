//! What was seen of a release at the latest look: as a table, as a line for each change, and for programs.

use roadstead_proto::v1::{Rollout, RolloutLook};

use crate::output::table;

/// Query by query and check by check; nothing before the first look.
pub(crate) fn table_of(rollout: &Rollout) -> Option<String> {
    if rollout.looks.is_empty() {
        return None;
    }
    let title = format!("seen of batch {}", u64::from(rollout.looked_batch) + 1);
    let rows = rollout.looks.iter().map(|look| [look.name.clone(), verdict(look), look.value.clone(), look.wanted.clone()]);
    Some(table([title.as_str(), "verdict", "value", "wanted"], rows) + "\n")
}

/// The verdict, and how often in a row it was none that lets the rollout go on.
fn verdict(look: &RolloutLook) -> String {
    match (look.judgement.as_str(), look.failed, look.unknown) {
        ("fails", times @ 2.., _) | ("unknown", _, times @ 2..) => format!("{}, {times} times", look.judgement),
        (judgement, ..) => judgement.to_owned(),
    }
}

/// A line for each verdict that is another than before.
pub(crate) fn changes(before: Option<&Rollout>, now: &Rollout) -> Vec<String> {
    let known = |look: &RolloutLook| {
        let before = before.filter(|before| before.looked_batch == now.looked_batch)?;
        before.looks.iter().find(|known| known.name == look.name).map(|known| known.judgement.clone())
    };
    let changed = now.looks.iter().filter(|look| known(look).as_ref() != Some(&look.judgement));
    changed.map(|look| format!("batch {}: {} {}", u64::from(now.looked_batch) + 1, look.name, look.told)).collect()
}

/// For programs; null before the first look.
pub(crate) fn json(rollout: &Rollout) -> serde_json::Value {
    if rollout.looks.is_empty() {
        return serde_json::Value::Null;
    }
    let look = |look: &RolloutLook| {
        serde_json::json!({
            "name": look.name,
            "verdict": look.judgement,
            "value": (!look.value.is_empty()).then_some(&look.value),
            "wanted": look.wanted,
            "told": look.told,
            "failed": look.failed,
            "unknown": look.unknown,
        })
    };
    serde_json::json!({
        "batch": u64::from(rollout.looked_batch) + 1,
        "at_ms": rollout.looked_at_ms,
        "looks": rollout.looks.iter().map(look).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str, judgement: &str, value: &str, told: &str) -> RolloutLook {
        let wanted = if name == "errors" { "at most 0.01" } else { "200 from http://$host/healthz" };
        let (name, judgement, value, told) = (name.into(), judgement.into(), value.into(), told.into());
        RolloutLook { name, judgement, value, wanted: wanted.into(), told, failed: 0, unknown: 0 }
    }

    fn seen(looks: Vec<RolloutLook>) -> Rollout {
        Rollout { looks, looked_at_ms: 1_000, looked_batch: 1, ..Default::default() }
    }

    #[test]
    fn the_latest_look_is_told_in_each_form() {
        let first = seen(vec![look("errors", "passes", "0.002", "is 0.002, at most 0.01"), look("page", "unknown", "", "tells nothing")]);
        let mut second =
            seen(vec![look("errors", "fails", "0.051", "is 0.051, at most 0.01"), look("page", "unknown", "", "tells nothing")]);
        (second.looks[0].failed, second.looks[1].unknown) = (1, 2);
        let lines = [changes(None, &first), changes(Some(&first), &second), changes(Some(&second), &second)];
        let json = serde_json::to_string_pretty(&json(&second)).unwrap();
        let told = lines.map(|lines| lines.join("\n")).join("\n--\n");
        insta::assert_snapshot!(format!("{}\n{told}\n\n{json}", table_of(&second).unwrap()));
        assert!(table_of(&seen(vec![])).is_none() && super::json(&seen(vec![])).is_null());
        let other_batch = Rollout { looked_batch: 2, ..second.clone() };
        assert_eq!(changes(Some(&second), &other_batch).len(), 2, "another batch is seen for the first time");
    }
}
