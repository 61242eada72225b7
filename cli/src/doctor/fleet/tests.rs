use super::*;
use roadstead_proto::v1::{AppState, Failure, Fence, HostFacts, Python, ReleaseKeys, RolloutHost};

const NOW: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;
const CURRENT: &str = "1.1.0-0123456789ab";

fn host(name: &str) -> Host {
    let app = AppState { app: "erp".into(), current: CURRENT.into(), releases: vec![CURRENT.into()], ..Default::default() };
    let facts = HostFacts {
        agent_version: "0.1.0".into(),
        operating_system: "Debian GNU/Linux 12 (bookworm)".into(),
        architecture: "x86_64".into(),
        pythons: vec![Python { version: "3.11".into(), path: "/usr/bin/python3.11".into() }],
        disk_free_bytes: 20 << 30,
        disk_free_inodes: 1_000_000,
        apps: vec![app],
        release_keys: Some(ReleaseKeys { threshold: 1, ids: vec![vec![1; 16]], problem: String::new() }),
        ..Default::default()
    };
    Host {
        id: format!("h-{name}"),
        name: name.into(),
        environment: "staging".into(),
        connected: true,
        last_seen_ms: NOW,
        certificate_not_after_ms: NOW + 20 * HOUR,
        facts: Some(facts),
        ..Default::default()
    }
}

fn fleet() -> Fleet {
    let hosts = vec![host("web-1"), host("web-2")];
    let environment = Environment {
        name: "staging".into(),
        app: "erp".into(),
        current: CURRENT.into(),
        hosts: hosts.iter().map(|host| host.name.clone()).collect(),
        ..Default::default()
    };
    let rollout = Rollout {
        id: 7,
        environment: "staging".into(),
        app: "erp".into(),
        release: CURRENT.into(),
        phase: "done".into(),
        started_at_ms: NOW - HOUR,
        ended_at_ms: NOW - HOUR + 40_000,
        ..Default::default()
    };
    Fleet {
        environments: vec![environment],
        hosts,
        rollouts: vec![rollout],
        signed: vec![Signed { app: "erp".into(), release: CURRENT.into(), keys: vec![vec![1; 16]] }],
        controller_version: "0.1.0".into(),
    }
}

fn told(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fleet_in_order_has_nothing_to_do() {
    insta::assert_snapshot!(told(&all(&fleet(), NOW)));
}

#[test]
fn an_empty_fleet_is_told_how_to_begin() {
    insta::assert_snapshot!(told(&all(&Fleet::default(), NOW)));
}

#[test]
fn whatever_is_wrong_comes_with_what_to_do() {
    let mut fleet = fleet();
    let mut away = host("web-3");
    (away.connected, away.last_seen_ms) = (false, NOW - 3 * HOUR);
    let mut stale = host("web-4");
    (stale.connected, stale.last_seen_ms) = (false, NOW - 30 * 24 * HOUR);
    let mut ended = host("web-5");
    (ended.connected, ended.last_seen_ms, ended.certificate_not_after_ms) = (false, NOW - 2 * 24 * HOUR, NOW - 24 * HOUR);
    let mut odd = host("web-6");
    odd.certificate_not_after_ms = NOW + HOUR;
    if let Some(facts) = &mut odd.facts {
        (facts.disk_free_bytes, facts.agent_version) = (100 << 20, "0.0.9".into());
        facts.apps[0].current = "1.0.0-ba9876543210".into();
        facts.release_keys = Some(ReleaseKeys { threshold: 1, ids: vec![vec![2; 16]], problem: String::new() });
    }
    let mut trusting_nobody = host("web-7");
    if let Some(facts) = &mut trusting_nobody.facts {
        facts.disk_free_bytes = 1 << 30;
        let problem = "this host trusts nobody to sign releases: /etc/roadstead/release-keys.toml cannot be read".into();
        facts.release_keys = Some(ReleaseKeys { problem, ..Default::default() });
    }
    fleet.hosts.extend([away, stale, ended, odd, trusting_nobody]);
    fleet.environments[0].hosts = fleet.hosts.iter().map(|host| host.name.clone()).collect();
    fleet.environments.push(Environment {
        name: "production".into(),
        app: "erp".into(),
        spec: br#"{"name":"production","app":"erp","hosts":"role=web"}"#.to_vec(),
        ..Default::default()
    });
    fleet.rollouts[0].phase = "rolled-back".into();
    fleet.rollouts[0].failure = Some(Failure { summary: "candidate: web did not answer".into(), ..Default::default() });
    insta::assert_snapshot!(told(&all(&fleet, NOW)));
}

#[test]
fn a_host_that_moves_is_not_behind() {
    let mut fleet = fleet();
    if let Some(facts) = &mut fleet.hosts[0].facts {
        facts.apps[0].current = String::new();
    }
    let behind = |fleet: &Fleet| all(fleet, NOW).iter().any(|finding| finding.check == "level" && !finding.hint.is_empty());
    assert!(behind(&fleet));
    fleet.rollouts[0].hosts = vec![RolloutHost { host_id: fleet.hosts[0].id.clone(), ..Default::default() }];
    (fleet.rollouts[0].ended_at_ms, fleet.rollouts[0].phase) = (0, "moving".into());
    assert!(!behind(&fleet));
}

#[test]
fn rollouts_that_wait_or_are_stuck_are_told() {
    let mut rollout = fleet().rollouts.remove(0);
    (rollout.phase, rollout.ended_at_ms) = ("migrating".into(), 0);
    rollout.waiting_for = "web-1 to run the migrations".into();
    rollout.waiting_until_ms = NOW + 60_000;
    rollout.waiting_then = "the rollout ends; the outcome is unknown".into();
    let mut late = rollout.clone();
    late.waiting_until_ms = NOW - 10 * 60_000;
    let mut stuck = rollout.clone();
    (stuck.phase, stuck.ended_at_ms) = ("failed".into(), NOW);
    stuck.hosts = vec![RolloutHost { host_name: "web-1".into(), state: "stuck".into(), ..Default::default() }];
    insta::assert_snapshot!(told(&[rollout, late, stuck].map(|rollout| super::rollout(&rollout, NOW))));
}

#[test]
fn one_host_is_looked_at_more_closely() {
    let mut fleet = fleet();
    insta::assert_snapshot!(told(&hosts::one(&fleet, &fleet.hosts[1], NOW)));
    fleet.hosts[0].revoked = true;
    insta::assert_snapshot!(told(&hosts::one(&fleet, &fleet.hosts[0], NOW)));
}

#[test]
fn a_controller_older_than_its_fleet_is_told() {
    let mut fleet = fleet();
    let history = |fleet: &Fleet| all(fleet, NOW).into_iter().find(|finding| finding.check == "history");
    // The newest order that a host has heard says nothing by itself: the controller knows which numbers were skipped.
    if let Some(facts) = &mut fleet.hosts[1].facts {
        facts.apps[0].highest = Some(Fence { term: 9, rollout: 900, sequence: 3 });
    }
    assert_eq!(history(&fleet), None);
    fleet.hosts[1].ahead = true;
    let told = history(&fleet).unwrap();
    assert_eq!(told.verdict, roadstead_model::Verdict::Failed);
    assert!(told.says.contains("web-2") && told.hint.contains("roadstead-controller restored"), "{told}");
}

#[test]
fn a_host_of_which_there_are_two_is_told_until_somebody_has_dealt_with_it() {
    let mut fleet = fleet();
    (fleet.hosts[0].revoked, fleet.hosts[0].locked) = (true, true);
    fleet.hosts[0].labels = vec!["role=web".into()];
    let locked = |fleet: &Fleet| all(fleet, NOW).into_iter().find(|finding| finding.says.contains("two machines"));
    assert_eq!(hosts::one(&fleet, &fleet.hosts[0], NOW), [locked(&fleet).unwrap()]);
    insta::assert_snapshot!(locked(&fleet).unwrap().to_string());
    fleet.hosts[0].locked = false;
    assert_eq!(locked(&fleet), None);
}
