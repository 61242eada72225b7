//! What a plan says is what happens: batches, restarts, bytes; and what is no longer true of it does not begin.

use super::Story;
use roadstead_model::size;
use serde_json::Value;

/// Lines that no release had before, and that do not become much smaller on their way.
pub(super) fn news() -> String {
    (0..4_000_u64).map(|number| format!("{:x}\n", number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect()
}

/// The plan of a version now.
pub(super) fn plan(story: &Story, version: &str) -> Value {
    story.fleet.fleet.desk.json(&["plan", "tiny", version]).unwrap()
}

/// Deploys a version by the digest of its plan, and holds what happened against what was told.
pub(super) fn a_plan_is_kept(story: &Story, version: &str, services: &str) {
    let told = story.told(&["plan", "tiny", version]);
    println!("{told}");
    let plan = plan(story, version);
    let (release, digest) = (plan["release"].as_str().unwrap(), plan["plan"]["digest"].as_str().unwrap());
    let exactly = format!("Exactly this: roadstead deploy tiny {release} --plan {}\n", &digest[..12]);
    assert!(told.starts_with(&format!("plan {}: tiny {release} to tiny", &digest[..12])) && told.ends_with(&exactly), "{told}");
    assert!(told.contains("Hosts      2 hosts in 2 batches, at most 1 out at once\n"), "{told}");
    assert!(told.contains(&format!("Services   web {services}\n")), "{told}");
    let batches = plan["plan"]["batches"].as_array().unwrap();
    for (batch, host) in batches.iter().zip(["tiny", "tiny-2"]) {
        assert_eq!((batch["hosts"].as_array().unwrap().len(), &batch["hosts"][0]["name"]), (1, &host.into()), "{plan:#}");
        assert!(told.contains(&size(batch["hosts"][0]["bytes_at_most"].as_u64().unwrap())), "{told}");
    }

    let words: Vec<&str> = exactly.trim().split(' ').skip(3).collect();
    story.told(&words);
    let newest = story.fleet.fleet.desk.json(&["rollout", "list", "--limit", "1"]).unwrap();
    let shown = story.fleet.fleet.desk.json(&["rollout", "show", newest[0]["rollout"].as_str().unwrap()]).unwrap();
    assert_eq!((&shown["release"], &shown["phase"]), (&release.into(), &"done".into()), "{shown:#}");
    let history = story.told(&["history", "--limit", "1000"]);
    assert!(history.lines().any(|line| line.contains(&format!("plan {}", &digest[..12]))), "what ran is kept: {history}");
    for ((number, batch), host) in (1..).zip(batches).zip(shown["hosts"].as_array().unwrap()) {
        let planned = &batch["hosts"][0];
        assert_eq!((&host["host"], &host["batch"]), (&planned["name"], &Value::from(number)), "{shown:#}");
        let (fetched, at_most) = (fetched(host), planned["bytes_at_most"].as_u64().unwrap());
        println!("{}: {fetched} bytes fetched, {at_most} at most", host["host"]);
        assert!(fetched > 0 && fetched <= at_most, "{host:#}");
        assert!(at_most <= fetched.saturating_mul(2), "a bound that says nothing: {at_most} for {fetched}");
    }
}

/// Nothing begins, and the reader learns what is different by now.
pub(super) fn a_plan_of_before_is_refused(story: &Story, version: &str, before: &Value) {
    let digest = before["plan"]["digest"].as_str().unwrap();
    assert_ne!(plan(story, version)["plan"]["digest"], digest);
    let newest = || story.fleet.fleet.desk.json(&["rollout", "list", "--limit", "1"]).unwrap()[0]["rollout"].clone();
    let last = newest();
    story.refused(
        &["deploy", "tiny", version, "--plan", &digest[..12]],
        3,
        &["POOL", "look at what would happen now: `roadstead plan tiny"],
    );
    assert_eq!(newest(), last);
}

/// Bytes that a host says it fetched, rounded down as they are told: `12 blobs, 1.5 MiB over the wire`.
fn fetched(host: &Value) -> u64 {
    let step = host["steps"].as_array().unwrap().iter().find(|step| step["step"] == "fetch").unwrap();
    let note = step["note"].as_str().unwrap();
    let told = note.strip_suffix(" over the wire").and_then(|told| told.rsplit(", ").next()).unwrap_or_else(|| panic!("{note}"));
    let (number, unit) = told.split_once(' ').unwrap();
    let power = ["B", "KiB", "MiB", "GiB"].iter().position(|known| *known == unit).unwrap();
    // One decimal: whole tenths of the unit.
    let tenths = number.replace('.', "").parse::<u64>().unwrap() * if number.contains('.') { 1 } else { 10 };
    tenths * 1024_u64.pow(u32::try_from(power).unwrap()) / 10
}
