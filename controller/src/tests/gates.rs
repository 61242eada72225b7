//! Gates: rollouts wait for approvals, for the lock of their environment, for another environment and for their turn.

use roadstead_model::{After, ApprovalRule, EnvironmentName, EnvironmentSpec, Gates, Millis, RoleName};
use roadstead_rollout::{Phase, closed};

use super::*;

fn ops() -> RoleName {
    RoleName::parse("ops").unwrap()
}

fn with(gates: Gates) -> EnvironmentSpec {
    EnvironmentSpec { gates, ..environment() }
}

async fn apply(rig: &Rig, spec: EnvironmentSpec) {
    rig.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
}

/// Why a rollout waits, as soon as its gates have been looked at.
async fn why(rig: &Rig, rollout: RolloutId) -> Vec<String> {
    let looked = |state: &State| matches!(&state.phase, Phase::Gated { closed: Some(closed), .. } if !closed.is_empty());
    let record = rig.until(rollout, |state| looked(state) || !state.is_approved()).await;
    closed(&record.state).into_iter().map(|closed| closed.why).collect()
}

async fn steer_as(rig: &Rig, by: &str, rollout: RolloutId, steer: Steer) -> Result<Arc<RolloutRecord>, Refused> {
    rig.driver.ask(Verb::Steer { rollout, steer, reason: "test".to_owned(), by: by.to_owned() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_of_another_opens_the_gate_and_a_rollback_waits_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1", "1.2"]).await;
    apply(&rig, with(Gates { approvals: vec![ApprovalRule { role: ops(), count: 1 }], ..Gates::default() })).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    assert_eq!(why(&rig, rollout).await, ["the approval of one of ops"]);
    assert!(matches!(rig.deploy("1.2").await, Err(Refused::Waiting(waiting, ..)) if waiting == rollout));
    let roles = || Steer::Approve { roles: vec![ops()] };
    assert!(matches!(rig.steer(rollout, roles()).await, Err(Refused::Unfit(_))), "not of who asked for it");
    steer_as(&rig, "admin:bob", rollout, roles()).await.unwrap();
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    assert_eq!(rig.current().await, Some(release("1.1").digest));

    let waiting = rig.deploy("1.2").await.unwrap();
    why(&rig, waiting).await;
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(back).await.state.phase.word(), "done");
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    assert_eq!(rig.end(waiting).await.state.phase.word(), "failed", "what waited to go forward is ended");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_keeps_others_out_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let (place, now) = ((environment().name, app()), clock::now());
    let lock = |by: &str| LockRecord { by: by.to_owned(), reason: "incident".to_owned(), at: now, until: now.plus(Millis(3_600_000)) };
    rig.store.set_lock(place.clone(), lock("admin:bob"), false).await.unwrap().unwrap();
    assert_eq!(rig.store.set_lock(place.clone(), lock("admin:ada"), false).await.unwrap().unwrap_err().by, "admin:bob");
    let rollout = rig.deploy("1.1").await.unwrap();
    assert_eq!(why(&rig, rollout).await, ["staging is locked by admin:bob: incident"]);
    let ended = |by: &str, breaks| rig.store.end_lock(place.clone(), by.to_owned(), "over".to_owned(), now, breaks);
    assert_eq!(ended("admin:ada", false).await.unwrap().unwrap_err().by, "admin:bob");
    assert_eq!(ended("admin:ada", true).await.unwrap().unwrap().as_deref(), Some("admin:bob"));
    rig.driver.tell(Event::LookAtGates).await;
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    // One's own lock is no gate, and one that has expired is none.
    rig.store.set_lock(place.clone(), lock("admin:ada"), false).await.unwrap().unwrap();
    let own = rig.roll_back(None).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(own).await.state.phase.word(), "done");
    let expired = LockRecord { until: now, ..lock("admin:bob") };
    rig.store.set_lock(place.clone(), expired, true).await.unwrap().unwrap();
    assert!(ended("admin:cyd", false).await.unwrap().is_ok(), "nobody asks for leave to end what has expired");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_where_it_was_well_before() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let production = EnvironmentName::parse("production").unwrap();
    let after = |healthy_for| Some(After { environment: environment().name, healthy_for });
    let spec = |after| EnvironmentSpec { name: production.clone(), ..with(Gates { after, ..Gates::default() }) };
    apply(&rig, spec(after(Millis(0)))).await;
    let mut host = host_record(5);
    host.environment = production.clone();
    rig.store.add_host(host).await;
    rig.connect(5, &disks, &Behaviour::default()).await;
    let ask = async |version: &str, key: &str| {
        let (release, reason) = (release(version).id(), "test".to_owned());
        let by = "admin:ada".to_owned();
        let request = StartRequest {
            environment: production.clone(),
            app: app(),
            release,
            reason,
            by,
            idempotency_key: key.to_owned(),
            plan: None,
            contracts: vec![],
        };
        rig.driver.ask(Verb::Start(request)).await.unwrap().state.plan.rollout
    };
    let never = ask("1.1", "a").await;
    assert_eq!(why(&rig, never).await, [format!("staging does not run {}", release("1.1").id())]);
    rig.steer(never, Steer::Abort).await.unwrap();
    let well = ask("1.0", "b").await;
    assert_eq!(rig.end(well).await.state.phase.word(), "done");

    apply(&rig, spec(after(Millis::from_secs(3600)))).await;
    let early = ask("1.0", "c").await;
    assert_eq!(why(&rig, early).await, [format!("{} has to be well in staging for 1 h", release("1.0").id())]);
    rig.stop().await;
}

/// A host obeys nothing that is older than what it heard last: who comes while a rollout waits comes level after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_level_while_a_rollout_waits() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    apply(&rig, with(Gates { approvals: vec![ApprovalRule { role: ops(), count: 1 }], ..Gates::default() })).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    why(&rig, rollout).await;
    rig.store.add_host(host_record(1)).await;
    rig.connect(1, &disks, &Behaviour::default()).await;
    steer_as(&rig, "admin:bob", rollout, Steer::Approve { roles: vec![ops()] }).await.unwrap();
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    let level = rig.level(rollout).await;
    assert_eq!(rig.end(level).await.state.phase.word(), "done");
    assert_eq!(disks.lock().unwrap()[&host_id(1)].current, Some(release("1.1").id()));
    rig.stop().await;
}

/// One host has no more of the release than its name, so that it is brought there again: in a hurry all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_that_has_to_fetch_waits_for_nobody_and_ends_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1", "1.2"]).await;
    let second = rig.deploy("1.1").await.unwrap();
    assert_eq!(rig.end(second).await.state.phase.word(), "done");
    apply(&rig, with(Gates { approvals: vec![ApprovalRule { role: ops(), count: 1 }], ..Gates::default() })).await;
    let waiting = rig.deploy("1.2").await.unwrap();
    why(&rig, waiting).await;
    disks.lock().unwrap().get_mut(&host_id(0)).unwrap().releases.clear();
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour::default()).await;
    let back = rig.roll_back(None).await.unwrap();
    assert_eq!(back.state.plan.kind, roadstead_rollout::RolloutKind::Rollout, "it has to be fetched");
    assert_eq!(rig.end(back.state.plan.rollout).await.state.phase.word(), "done");
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    assert_eq!(rig.end(waiting).await.state.phase.word(), "failed");
    rig.stop().await;
}

/// What is refused takes nothing away from what waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_is_refused_leaves_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    apply(&rig, with(Gates { approvals: vec![ApprovalRule { role: ops(), count: 1 }], ..Gates::default() })).await;
    let waiting = rig.deploy("1.1").await.unwrap();
    why(&rig, waiting).await;
    assert!(matches!(rig.roll_back(None).await, Err(Refused::NothingBefore(..))));
    assert!(rig.store.rollout(waiting).await.unwrap().unwrap().state.outcome().is_none());
    rig.stop().await;
}

/// A rollout that waits is taken up where it stood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_opens_no_gate() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    apply(&rig, with(Gates { approvals: vec![ApprovalRule { role: ops(), count: 2 }], ..Gates::default() })).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    let roles = || Steer::Approve { roles: vec![ops()] };
    steer_as(&rig, "admin:bob", rollout, roles()).await.unwrap();
    rig.stop().await;
    let rig = Rig::start(folder.path()).await;
    rig.connect(0, &disks, &Behaviour::default()).await;
    assert_eq!(why(&rig, rollout).await, ["the approval of one of ops"]);
    steer_as(&rig, "admin:cyd", rollout, roles()).await.unwrap();
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    rig.stop().await;
}

/// Hosts that try again and again to come level push nothing out of sight that an operator may want to go back to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_is_found_behind_any_number_of_rollouts_that_brought_hosts_level() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, first) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let record = rig.store.rollout(first).await.unwrap().unwrap();
    let mut changes = Changes::default();
    for number in 2..300 {
        let mut level = record.clone();
        level.state.plan.rollout = RolloutId(number);
        level.state.plan.kind = roadstead_rollout::RolloutKind::Level;
        level.idempotency_key = String::new();
        changes.started.push(Arc::new(level));
    }
    Ledger::save(&rig.store, changes).await.unwrap();
    let found = rig.store.asked_for(&environment().name, 5).await.unwrap();
    assert_eq!(found.iter().map(|record| record.state.plan.rollout).collect::<Vec<_>>(), [first]);
    rig.stop().await;
}

/// A release that brings migrations.
fn migrating(version: &str, migrations: &[&str]) -> ReleaseRecord {
    let mut record = release(version);
    let (settings, manage) = ("erp.settings".to_owned(), roadstead_bundle::spec::RelativePath::parse("manage.py").unwrap());
    let django = roadstead_bundle::spec::Django { settings, manage, migrate: true, lock_timeout: None, statement_timeout: None };
    record.manifest.spec.django = Some(django);
    record.manifest.migrations = migrations.iter().map(|name| (*name).to_owned()).collect();
    record.bytes = record.manifest.encode();
    record.digest = roadstead_model::Digest::of(&record.bytes);
    record
}

/// What takes away what earlier releases need waits until every host has left them, and nobody wants to go back to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_waits_until_nobody_wants_to_go_back_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let contracting = migrating("1.1", &["shop.0002_drop"]);
    rig.store.publish(contracting.clone(), clock::now()).await.unwrap();
    let policy = async |after: Option<Millis>| {
        let mut spec = environment();
        spec.database.contract_after = after;
        apply(&rig, spec).await;
    };
    let ask = async |key: &str| {
        let (environment, release, reason, by) = (environment().name, contracting.id(), "test".to_owned(), "admin:ada".to_owned());
        let contracts = contracting.manifest.migrations.clone();
        let request = StartRequest { environment, app: app(), release, reason, by, idempotency_key: key.to_owned(), plan: None, contracts };
        Ok::<_, Refused>(rig.driver.ask(Verb::Start(request)).await?.state.plan.rollout)
    };
    policy(Some(Millis::from_secs(3600))).await;
    let early = ask("a").await.unwrap();
    let runs = release("1.0").id();
    let told = format!("shop.0002_drop takes away what earlier releases need, and {runs} has not served everywhere for 1 h");
    assert_eq!(why(&rig, early).await, [told]);
    rig.steer(early, Steer::Abort).await.unwrap();
    rig.end(early).await;

    // A host of which nobody knows that it has left the release before: it comes level while nothing waits, so nothing does.
    policy(Some(Millis(0))).await;
    rig.store.add_host(host_record(1)).await;
    disks.lock().unwrap().entry(host_id(1)).or_default().current = Some(release("0.9").id());
    rig.connect(1, &disks, &Behaviour { deaf: vec!["prepare"], ..Behaviour::default() }).await;
    rig.level(early).await;
    let refused = ask("b").await.unwrap_err();
    let told = format!(
        "shop.0002_drop takes away what earlier releases need, and web-1 serves something else than {runs}, or may still go back from it"
    );
    assert_eq!(refused.to_string(), told);

    // Without the policy nobody is waited for.
    policy(None).await;
    let record = rig.store.rollout(ask("c").await.unwrap()).await.unwrap().unwrap();
    assert!(record.state.plan.contracts.is_none() && !matches!(record.state.phase, Phase::Gated { .. }));
    rig.stop().await;
}
