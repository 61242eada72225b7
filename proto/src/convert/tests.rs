//! What goes out comes back the same; junk is refused with the field's name.

use roadstead_model::*;
use std::collections::BTreeMap;

use crate::v1;

fn release() -> ReleaseRef {
    let manifest = Digest::of(b"manifest");
    ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest }
}

fn order(kind: OrderKind) -> Order {
    Order {
        fence: Fence { term: 2, rollout: RolloutId(17), sequence: 3 },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind,
        deadline: Millis(1234),
    }
}

#[test]
fn every_verb_round_trips() {
    let variables = BTreeMap::from([(VariableName::parse("KEY").unwrap(), "a\nb".to_owned())]);
    let singletons = vec![ServiceName::parse("beat").unwrap()];
    for kind in [
        OrderKind::Prepare {
            release: release(),
            variables,
            secrets: [(VariableName::parse("TOKEN").unwrap(), SecretRef::parse("vault:secret/erp#token?version=3").unwrap())].into(),
            files: BTreeMap::from([(RelativePath::parse("config/a.toml").unwrap(), "a".to_owned())]),
            singletons,
            keep: 3,
            publish: true,
        },
        OrderKind::Prepare {
            release: release(),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            singletons: Vec::new(),
            keep: 0,
            publish: false,
        },
        OrderKind::Migrate { release: release(), backup: None, idle: false },
        OrderKind::Migrate { release: release(), backup: Some(BackupDemand::None), idle: false },
        OrderKind::Migrate { release: release(), backup: Some(BackupDemand::AtLeast(BackupCheck::Listed)), idle: false },
        OrderKind::Activate { release: release(), expected: None, confirm_within: Millis(9) },
        OrderKind::Activate { release: release(), expected: Some(release().id), confirm_within: Millis(9) },
        OrderKind::Confirm { release: release() },
        OrderKind::Revert { from: release(), to: Some(release()), condemn: true, everywhere: false },
        OrderKind::Revert { from: release(), to: None, condemn: false, everywhere: true },
        OrderKind::Abandon { release: release(), condemn: true },
        OrderKind::Backup { release: release(), demand: BackupDemand::RestoredUpTo(50_000_000_000) },
        OrderKind::Job { release: release(), job: JobName::parse("backfill").unwrap() },
        OrderKind::Recheck {
            release: release(),
            backup: BackupName::parse("erp-r-12-1").unwrap(),
            demand: BackupDemand::AtLeast(BackupCheck::Listed),
        },
        OrderKind::Survey { release: release(), backup: BackupName::parse("erp-r-12-5").unwrap() },
        OrderKind::Halt { release: release() },
        OrderKind::Restore { release: release(), backup: BackupName::parse("erp-r-12-5").unwrap() },
        OrderKind::Exchange { release: release(), backup: BackupName::parse("erp-r-12-5").unwrap() },
    ] {
        let sent = order(kind);
        assert_eq!(Order::try_from(v1::Order::from(sent.clone())).unwrap(), sent);
    }
}

fn backup() -> Backup {
    Backup {
        name: "erp-r12-20261127T113000Z".into(),
        taken_at: Timestamp(1_795_000_000_000),
        database: "PostgreSQL 15.8, database erp on db-1:5432".into(),
        identity: "7431200000000000000/erp".into(),
        database_bytes: 123,
        bad: "its digest differs".into(),
        place: "/var/lib/roadstead-backups/erp/erp-r12-20261127T113000Z.dump".into(),
        bytes: 1234,
        digest: "ab".repeat(32),
        encrypted: true,
        check: BackupCheck::Restored,
        seen: "14 tables, 3402 rows".into(),
        took: Millis(100),
        checked_in: Millis(2000),
    }
}

#[test]
fn the_evidence_of_a_backup_is_bounded_and_one_line_each() {
    let refused = |change: fn(&mut v1::Backup)| {
        let mut wire = v1::Backup::from(backup());
        change(&mut wire);
        Backup::try_from(wire).unwrap_err().to_string()
    };
    assert!(refused(|wire| wire.check = "none".into()).contains("backup.check"));
    assert!(refused(|wire| wire.check = "sworn".into()).contains("backup.check"));
    assert!(refused(|wire| wire.place = "a\nb".into()).contains("backup.place"));
    assert!(refused(|wire| wire.seen = "x".repeat(5000)).contains("backup.seen"));
}

fn loss() -> Loss {
    let table = |name: &str, lost| TableLoss { name: name.into(), then: Some(3), now: Some(5), lost, changed: None, returned: Some(0) };
    Loss {
        evidence: backup(),
        looked_at: Timestamp(1_795_781_999_000),
        exact: true,
        tables: vec![table("public.a", Some(2)), table("public.b", None)],
        more: 1,
        same: 7,
        shape: vec!["column public.a.x comes back".into()],
        migrations: vec!["customers.0004_note".into()],
        notes: Vec::new(),
        kept_as: "erp_before".into(),
    }
}

#[test]
fn what_is_told_of_a_loss_is_bounded() {
    let refused = |change: fn(&mut v1::Loss)| {
        let mut wire = v1::Loss::from(loss());
        change(&mut wire);
        Loss::try_from(wire).unwrap_err().to_string()
    };
    assert!(refused(|wire| wire.backup = None).contains("loss.backup"));
    assert!(refused(|wire| wire.tables = vec![wire.tables[0].clone(); 101]).contains("loss.tables"));
    assert!(refused(|wire| wire.tables[0].name = "a\u{1b}[2J".into()).contains("loss.tables"));
    assert!(refused(|wire| wire.migrations = vec!["x".repeat(5000)]).contains("loss.migrations"));
}

#[test]
fn every_report_round_trips() {
    let key = OrderKey { rollout: RolloutId(17), sequence: 3 };
    let failure = Failure::new(FailureKind::Check, "GET /healthz answered 500", "look at the journal").with_detail("trace");
    let step = |state| Report::Step(StepReport { key, step: StepName::Fetch, state });
    let current = Some(release().id);
    for report in [
        step(StepState::Started),
        step(StepState::Progress { done: 1, total: 2, note: "1 task left".into() }),
        step(StepState::Succeeded { took: Millis(5), note: "12 blobs".into(), safeguard: None }),
        step(StepState::Succeeded { took: Millis(5), note: "none".into(), safeguard: Some(Safeguard::NotNeeded { why: "empty".into() }) }),
        step(StepState::Succeeded { took: Millis(5), note: "made".into(), safeguard: Some(Safeguard::Made(Box::new(backup()))) }),
        step(StepState::Succeeded { took: Millis(5), note: "seen".into(), safeguard: Some(Safeguard::Loss(Box::new(loss()))) }),
        step(StepState::Failed { took: Millis(5), failure: failure.clone() }),
        Report::Order { key, outcome: OrderOutcome::Done { current: current.clone() } },
        Report::Order { key, outcome: OrderOutcome::Failed { step: StepName::Health, failure: failure.clone(), current: None } },
        Report::Order { key, outcome: OrderOutcome::Stuck { step: StepName::Health, failure: failure.clone(), current: current.clone() } },
        Report::Refused { key, highest: Some(Fence { term: 1, rollout: RolloutId(18), sequence: 0 }), why: "older".into() },
        Report::WentBack { key, app: AppName::parse("erp").unwrap(), current, why: failure },
    ] {
        assert_eq!(Report::try_from(v1::Report::from(report.clone())).unwrap(), report);
    }
}

#[test]
fn a_release_whose_parts_disagree_is_refused() {
    let mut wire = v1::ReleaseRef::from(release());
    wire.manifest[0] ^= 1;
    let error = ReleaseRef::try_from(wire).unwrap_err();
    assert!(error.to_string().contains("do not belong together"), "{error}");
}

#[test]
fn hostile_fields_are_refused_by_name() {
    let mut wire = v1::Order::from(order(OrderKind::Migrate { release: release(), backup: None, idle: false }));
    wire.app = "../etc".into();
    assert_eq!(Order::try_from(wire).unwrap_err().field, "order.app");
    let facts = v1::HostFacts { host_name: "a\u{1b}[2J".into(), ..Default::default() };
    assert_eq!(HostFacts::try_from(facts).unwrap_err().field, "facts.host_name");
    let facts = v1::HostFacts { host_name: "a".into(), operating_system: "\u{1b}]0;x".into(), ..Default::default() };
    assert!(HostFacts::try_from(facts).is_err());
}

#[test]
fn what_balancers_are_told_and_say_round_trips() {
    let key = OrderKey { rollout: RolloutId(17), sequence: 3 };
    let (environment, app) = (EnvironmentName::parse("staging").unwrap(), AppName::parse("erp").unwrap());
    let host = |name: &str| HostName::parse(name).unwrap();
    let weights = BTreeMap::from([(host("web-1"), Weight::DRAINED), (host("web-2"), Weight::FULL)]);
    let table = TrafficTable { key, environment, app: app.clone(), weights };
    let mut wire = v1::TrafficTable::from(table.clone());
    assert_eq!(TrafficTable::try_from(wire.clone()).unwrap(), table);
    wire.weights[1].percent = 101;
    assert!(TrafficTable::try_from(wire.clone()).unwrap_err().to_string().contains("traffic.weights.percent"));
    wire.weights[1] = wire.weights[0].clone();
    assert!(TrafficTable::try_from(wire).unwrap_err().to_string().contains("named twice"));

    let server = ServerSeen { weight: Weight::FULL, up: false, in_flight: 7 };
    let problem = Some(Failure::new(FailureKind::Host, "haproxy does not answer", "start it"));
    let seen = TrafficSeen { key, app, servers: BTreeMap::from([(host("web-1"), server)]), problem };
    assert_eq!(TrafficSeen::try_from(v1::TrafficSeen::from(seen.clone())).unwrap(), seen);
}

#[test]
fn drift_of_a_lying_host_is_refused_and_of_a_newer_one_is_taken() {
    let finding =
        |how: &str, place: &str| v1::DriftFinding { part: "kernel".into(), how: how.into(), place: place.into(), detail: String::new() };
    let drift = |findings: Vec<v1::DriftFinding>| roadstead_model::Drift::try_from(v1::Drift { findings, more: 7 });
    let newer = drift(vec![finding("own", "b"), finding("melted", "a")]).unwrap();
    assert!(!newer.is_level() && newer.findings[0].place == "a" && newer.more == 7, "{newer:?}");
    assert!(drift(vec![finding("changed", "x"); 21]).is_err(), "too many");
    assert!(drift(vec![finding("changed", "a\u{1b}[2J")]).is_err(), "what a terminal would obey");
    assert!(drift(vec![finding("changed", &"x".repeat(5000))]).is_err(), "too long");
}
