//! Identities while they are used: certificates are renewed under load without a session noticing, and whoever is cut off is out at once.

use crate::SOON;
use roadstead_tests::fleet::{Desk, Fleet, FleetOptions};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::Load;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a revoked agent writes at each attempt.
const CUT_OFF: &str = "has cut this host off";

#[test]
fn identities_renew_themselves_and_end_at_once_when_revoked() {
    // The shortest life that there is: certificates end in the middle of the story.
    let options = FleetOptions::default().hosts(2).settings("host-certificate-minutes = 1\n");
    let fleet = Fleet::new("identity", &options).unwrap();
    let first: Vec<u64> = fleet.hosts.iter().map(valid_until).collect();
    fleet.deploy("1.0.0").unwrap();
    fleet.push("1.1.0").unwrap();
    fleet.apply("[strategy]\nbake = \"30m\"\n").unwrap();
    let load = Load::on(format!("{}:80", fleet.hosts[0].ip())).path("/healthz").clients(2).pause(Duration::from_millis(5));
    let load = load.start(&fleet.client());
    let rollout = fleet.desk.json(&["deploy", "staging", "1.1.0", "--no-wait"]).unwrap()["rollout"].as_str().unwrap().to_owned();
    let phase = || fleet.desk.json(&["rollout", "show", &rollout]).unwrap()["phase"].as_str().unwrap().to_owned();
    wait_until("the rollout to bake", SOON, || phase() == "baking").unwrap();

    an_admin_who_is_cut_off_sees_no_more(&fleet.desk, &rollout);
    certificates_are_renewed_within_a_session(&fleet, &first);
    assert_eq!(phase(), "baking");
    // The sessions were opened with certificates that are over, and still carry orders and reports.
    fleet.desk.roadstead(&["rollback", "staging"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0", "1.0.0"]);

    a_host_that_is_cut_off_is_out(&fleet, &fleet.hosts[1]);
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
}

/// Whoever follows a rollout is told in the middle of it.
fn an_admin_who_is_cut_off_sees_no_more(desk: &Desk, rollout: &str) {
    let other = desk.another().unwrap();
    let token = other.write("token", &desk.roadstead(&["admin", "token", "bob"]).unwrap()).unwrap();
    other.roadstead(&["login", "--controller", desk.controller(), "--token-file", &token]).unwrap();
    let again = other.try_roadstead(&["login", "--controller", desk.controller(), "--token-file", &token]).unwrap();
    assert_eq!(again.code, Some(3), "{}", again.stderr);
    let mut watch = other.begin(&["rollout", "watch", rollout]).unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(watch.stderr.as_mut().unwrap(), &mut first).unwrap();

    desk.roadstead(&["admin", "revoke", "bob", "--reason", "left the company", "--yes"]).unwrap();
    let ended = watch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("was revoked"), "{said}");
    for words in [&["status"][..], &["rollout", "abort", rollout, "--reason", "spite"], &["host", "token", "--env", "staging"]] {
        let refused = other.try_roadstead(words).unwrap();
        assert_eq!(refused.code, Some(3), "{words:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("was revoked"), "{words:?}: {}", refused.stderr);
    }
    assert_eq!(desk.history("admin-revoked").unwrap(), [("admin:bob".to_owned(), "left the company".to_owned())]);
}

fn certificates_are_renewed_within_a_session(fleet: &Fleet, first: &[u64]) {
    let connected = fleet.desk.history("host-connected").unwrap().len();
    assert_eq!(connected, fleet.hosts.len(), "each host connected once");
    let over = |first: &&u64| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() > u128::from(**first);
    wait_until("the first certificates to be over", SOON * 2, || first.iter().all(|first| over(&first))).unwrap();
    for (host, first) in fleet.hosts.iter().zip(first) {
        host.wait_until("a renewed certificate", SOON, |host| valid_until(host) > *first).unwrap();
    }
    assert!(fleet.desk.history("host-renewed").unwrap().len() >= fleet.hosts.len());
    assert_eq!(fleet.desk.history("host-connected").unwrap().len(), connected, "no session was opened anew");
    assert_eq!(fleet.connected().unwrap(), fleet.hosts.len());
}

fn a_host_that_is_cut_off_is_out(fleet: &Fleet, host: &Host) {
    fleet.desk.roadstead(&["host", "revoke", host.name(), "--reason", "stolen", "--yes"]).unwrap();
    let refused = |host: &Host| host.journal("roadstead-agent").is_ok_and(|said| said.contains(CUT_OFF));
    host.wait_until("the agent to say that it is cut off", SOON, refused).unwrap();
    let said = host.journal("roadstead-agent").unwrap();
    assert!(said.contains("was revoked") && said.contains("join token"), "{said}");
    assert_eq!(fleet.connected().unwrap(), fleet.hosts.len() - 1);
    let sessions = fleet.desk.history("host-connected").unwrap().len();
    let before = said.matches(CUT_OFF).count();
    host.systemctl(&["restart", "roadstead-agent"]).unwrap();
    let again = |host: &Host| host.journal("roadstead-agent").is_ok_and(|said| said.matches(CUT_OFF).count() > before);
    host.wait_until("the agent to be refused again", SOON, again).unwrap();
    assert_eq!(fleet.desk.history("host-connected").unwrap().len(), sessions, "it got no session");
    assert_eq!(fleet.ask(host, "/healthz").unwrap(), (200, "1.0.0".to_owned()), "its application serves on");
}

fn valid_until(host: &Host) -> u64 {
    let status = host.exec(&["roadstead-agent", "status", "--output", "json"]).unwrap();
    serde_json::from_str::<serde_json::Value>(&status).unwrap()["certificate_valid_until_ms"].as_u64().unwrap()
}
