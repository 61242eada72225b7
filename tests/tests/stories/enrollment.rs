//! Who gets in, and who does not: every token that is not good at this moment for this host and this controller is refused in words, and
//! what may be theft is in the history.

use crate::SOON;
use roadstead_tests::fleet::{Desk, Profile, enroll, packages, start_controller};
use roadstead_tests::lab::{Execution, Host, Lab, wait_until};
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn a_token_lets_one_host_in_once() {
    let packages = packages(Profile::Dev).unwrap();
    let lab = Lab::new("enrollment").unwrap();
    let [control, stranger, web] = lab.hosts(["control", "stranger", "web-1"]).unwrap();
    let desk = start_controller(&lab, Profile::Dev, &control, &packages, "").unwrap();
    let strange = start_controller(&lab, Profile::Dev, &stranger, &packages, "").unwrap();
    web.install_debs(&[&packages.agent]).unwrap();
    let short = desk.json(&["host", "token", "--env", "staging", "--ttl", "10s"]).unwrap();

    an_agent_without_an_identity_waits_and_says_what_to_do(&web);
    tokens_of_another_authority(&web, &desk, &strange);
    damaged_tokens(&web, &desk);
    a_token_that_is_over(&web, &desk, &short);
    a_token_that_was_used(&web, &desk);
    twenty_at_once(&web, &desk);
    the_token_decides_what_a_host_is(&web, &desk);
}

fn an_agent_without_an_identity_waits_and_says_what_to_do(web: &Host) {
    assert_eq!(web.unit_property("roadstead-agent", "ActiveState").unwrap(), "inactive", "it is not started in vain");
    assert_eq!(web.unit_property("roadstead-agent", "NRestarts").unwrap(), "0");
    let status = web.exec(&["roadstead-agent", "status"]).unwrap();
    assert!(status.contains("not enrolled") && status.contains("roadstead-agent enroll"), "{status}");
    let run = web.try_exec(&["roadstead-agent", "run"]).unwrap();
    assert!(!run.success() && run.stderr.contains("roadstead-agent enroll"), "{}", run.stderr);
}

/// A token names the authority that made it: it is not even shown to another, and a forged one opens nothing.
fn tokens_of_another_authority(web: &Host, desk: &Desk, strange: &Desk) {
    let (own, foreign) = (token(desk), token(strange));
    for (controller, token) in [(desk.controller(), &foreign), (strange.controller(), &own)] {
        let said = refused(web, enroll(web, controller, token, &[]).unwrap());
        assert!(said.contains("another authority"), "{said}");
    }
    // The secret of the one with the authority of the other: the connection holds, the secret does not.
    let parts = |token: &str| token.trim().split('.').map(str::to_owned).collect::<Vec<_>>();
    let forged = format!("rst1.{}.{}", parts(&foreign)[1], parts(&own)[2]);
    let said = refused(web, enroll(web, desk.controller(), &forged, &[]).unwrap());
    assert!(said.contains("not one of this controller's") && said.contains("roadstead host token"), "{said}");
    for desk in [desk, strange] {
        assert!(desk.history("join-refused").unwrap().is_empty(), "a stranger writes no history");
    }
}

fn damaged_tokens(web: &Host, desk: &Desk) {
    let good = token(desk);
    for (damaged, clue) in [("", "join token"), (&good[..40], "characters"), ("ghp_abc", "roadstead host token")] {
        let said = refused(web, enroll(web, desk.controller(), damaged, &[]).unwrap());
        assert!(said.contains(clue) && !said.contains(&good[6..30]), "{damaged:?}: {said}");
    }
}

fn a_token_that_is_over(web: &Host, desk: &Desk, short: &serde_json::Value) {
    let over = short["expires_at_ms"].as_u64().unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    wait_until("the token to expire", SOON, || now() > u128::from(over)).unwrap();
    let said = refused(web, enroll(web, desk.controller(), short["token"].as_str().unwrap(), &[]).unwrap());
    assert!(said.contains("has expired") && said.contains("roadstead host token"), "{said}");
    let noted = desk.history("join-refused").unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted[0].1.contains(&web.ip()) && noted[0].1.contains("admin:ada") && noted[0].1.contains("expired"), "{noted:?}");
}

/// The second use changes nothing, and is in the history under the host that the token let in.
fn a_token_that_was_used(web: &Host, desk: &Desk) {
    let token = token(desk);
    let joined = enroll(web, desk.controller(), &token, &[]).unwrap();
    assert!(joined.success(), "{}", joined.stderr);
    let identity = web.read("/var/lib/roadstead-agent/identity/identity.pem").unwrap();
    let said = enroll(web, desk.controller(), &token, &[]).unwrap();
    assert!(!said.success() && said.stderr.contains("enrolled already") && said.stderr.contains("--again"), "{}", said.stderr);
    let said = enroll(web, desk.controller(), &token, &["--again"]).unwrap();
    assert!(!said.success() && said.stderr.contains("used before"), "{}", said.stderr);
    assert_eq!(web.read("/var/lib/roadstead-agent/identity/identity.pem").unwrap(), identity, "what it was it still is");
    let hosts = desk.json(&["host", "list"]).unwrap();
    let id = format!("host:{}", hosts[0]["id"].as_str().unwrap());
    let noted = desk.history("join-refused").unwrap();
    assert_eq!((noted.len(), noted[1].0.as_str()), (2, id.as_str()), "{noted:?}");

    web.systemctl(&["start", "roadstead-agent"]).unwrap();
    wait_until("the host to be connected", SOON, || desk.json(&["host", "list"]).is_ok_and(|h| h[0]["state"] == "connected")).unwrap();
    let status = web.exec(&["roadstead-agent", "status"]).unwrap();
    assert!(status.contains(desk.controller()) && status.contains("renews itself"), "{status}");
}

fn twenty_at_once(web: &Host, desk: &Desk) {
    let before = desk.history("host-enrolled").unwrap().len();
    web.write("/root/token", token(desk)).unwrap();
    let script = format!(
        "for n in $(seq 20); do roadstead-agent enroll --again --controller {} --token-file /root/token >/root/try-$n 2>&1 & done; wait; \
         grep -l 'This host is enrolled' /root/try-* | wc -l; grep -l 'used before' /root/try-* | wc -l",
        desk.controller()
    );
    let counted = web.sh(&script).unwrap();
    assert_eq!(counted.split_whitespace().collect::<Vec<_>>(), ["1", "19"], "{}", web.sh("cat /root/try-*").unwrap());
    assert_eq!(desk.history("host-enrolled").unwrap().len(), before + 1, "one identity");
}

/// A host says of itself what it likes; its environment and labels are those of its token.
fn the_token_decides_what_a_host_is(web: &Host, desk: &Desk) {
    let token = desk.roadstead(&["host", "token", "--env", "production", "--label", "role=db"]).unwrap();
    let before = desk.json(&["host", "list", "--env", "staging"]).unwrap();
    assert!(enroll(web, desk.controller(), &token, &["--again"]).unwrap().success());
    let after = desk.json(&["host", "list", "--env", "staging"]).unwrap();
    assert_eq!(after.as_array().map(Vec::len), before.as_array().map(Vec::len), "staging has no host more");
    let production = desk.json(&["host", "list", "--env", "production"]).unwrap();
    assert_eq!(production.as_array().unwrap().len(), 1);
    assert_eq!((&production[0]["environment"], &production[0]["labels"][0]), (&"production".into(), &"role=db".into()));
}

fn token(desk: &Desk) -> String {
    desk.roadstead(&["host", "token", "--env", "staging", "--label", "role=web"]).unwrap()
}

/// What was said at the terminal of a host that was not let in; it must have no identity.
fn refused(web: &Host, done: Execution) -> String {
    assert_eq!(done.code, Some(1), "{}{}", done.stdout, done.stderr);
    assert!(web.try_exec(&["test", "-e", "/var/lib/roadstead-agent/identity/identity.pem"]).is_ok_and(|found| !found.success()));
    done.stderr
}
