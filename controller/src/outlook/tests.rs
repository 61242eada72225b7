use super::*;
use contents::{Holding, read};
use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};
use roadstead_bundle::ingest::ingest;
use roadstead_bundle::spec::{Django, RelativePath, Resources, Service, ServiceKind, UnitCutover};
use roadstead_bundle::store::{Form, Store as Blobs};
use roadstead_driver::{ConfigurationRecord, EnvironmentRecord, ReleaseRecord, samples};
use roadstead_model::outlook::{ServiceChange, StepEstimate};
use roadstead_model::{
    BackupDemand, CanaryStep, EnvironmentSpec, HostName, Labels, Millis, Promotion, ReleaseId, RolloutId, Selector, ServiceName, Share,
    StepName, Strategy, Timestamp,
};
use roadstead_rollout::{Candidate, Contact, Phase};
use std::fs;
use std::path::Path;

fn plan_of(spec: &EnvironmentSpec, release: &ReleaseRecord, current: Option<&ReleaseRecord>, hosts: usize, migrate: bool) -> Plan {
    let current = current.map(ReleaseRecord::reference);
    let host = |number| Candidate {
        id: samples::host_id(number),
        name: HostName::parse(&format!("web-{number}")).unwrap(),
        labels: Labels::default(),
        current: current.clone(),
        singletons: if number == 0 { vec![ServiceName::parse("beat").unwrap()] } else { vec![] },
        share: None,
    };
    let hosts = (0..hosts).map(host).collect();
    Plan::new(RolloutId(9), RolloutKind::Rollout, spec, release.reference(), current.clone(), hosts, migrate).unwrap()
}

fn plan(hosts: usize, migrate: bool) -> Plan {
    plan_of(&samples::environment(), &samples::release("1.1"), Some(&samples::release("1.0")), hosts, migrate)
}

fn foreseen(release: ReleaseRecord, current: Option<ReleaseRecord>, plan: Option<Plan>) -> Foreseen {
    let spec = samples::environment();
    let environment =
        EnvironmentRecord { spec, applied_at: Timestamp(0), applied_by: String::new(), current: None, previous: None, live_set: None };
    let current = current.map(|current| Configured::new(current, ConfigurationRecord::none()));
    let (unused, obstacles, facts, away) = (vec![], vec![], BTreeMap::new(), BTreeSet::new());
    Foreseen { environment, release, current, plan, unused, obstacles, gates: Vec::new(), facts, away, gives_way: None }
}

fn nothing_read() -> Contents {
    Contents { files: Ok(None), bytes: Ok(BTreeMap::new()), facts: Ok(None) }
}

/// A rollout that ended well, with what its steps took.
fn ended(number: u64, plan: Plan, times: &[(StepName, u64)]) -> State {
    let mut state = State::new(plan, Timestamp(0), |_| Contact::AtRest);
    state.plan.rollout = RolloutId(number);
    state.phase = Phase::Ended { outcome: Outcome::Done, at: Timestamp(1) };
    for host in state.hosts.values_mut() {
        host.times = times.iter().map(|(step, took)| (*step, Millis(*took), String::new())).collect();
    }
    state
}

#[test]
fn time_is_that_of_the_median_host_put_together_as_the_plan_is() {
    let strategy = Strategy {
        steps: vec![CanaryStep { hosts: Share::Count(1), bake: Millis(1_000), promote: Promotion::Manual, traffic: None }],
        batch: Share::Count(2),
        max_unavailable: Share::Count(2),
        ..Strategy::default()
    };
    let spec = EnvironmentSpec { strategy, bake: Millis(500), ..samples::environment() };
    let plan = plan_of(&spec, &samples::release("1.1"), Some(&samples::release("1.0")), 5, true);
    let times = |fetch| [(StepName::Fetch, fetch), (StepName::Cutover, 10), (StepName::Confirm, 1)];
    let mut history = vec![
        ended(8, self::plan(1, false), &times(100)),
        ended(7, self::plan(1, false), &times(300)),
        ended(6, self::plan(1, false), &times(200)),
    ];
    let mut failed = ended(5, self::plan(1, false), &times(9_000));
    failed.phase = Phase::Ended { outcome: Outcome::Failed, at: Timestamp(1) };
    let mut level = ended(4, self::plan(1, false), &times(9_000));
    level.plan.kind = RolloutKind::Level;
    history.extend([failed, level]);
    let estimate = estimate::estimate(&plan, &history);
    assert_eq!(estimate.from, [RolloutId(8), RolloutId(7), RolloutId(6)], "only what ended well, and was a rollout of all");
    assert_eq!(estimate.steps[0], StepEstimate { step: StepName::Fetch, median: Millis(200), runs: 3 });
    // One canary, then two batches of two.
    assert_eq!(estimate.total, Some(Millis(200 + 3 * 10 + 1 + 1_500)));
    assert_eq!((estimate.bakes, estimate.promotions), (Millis(1_500), 1));
    assert!(estimate.unknown.contains(&StepName::Migrate) && !estimate.unknown.contains(&StepName::Fetch), "{:?}", estimate.unknown);
    let none = estimate::estimate(&plan, &history[3..]);
    assert_eq!((none.total, none.unknown.len(), none.bakes), (None, 0, Millis(1_500)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_median_lies_between_what_was_taken(took in prop::collection::vec(0..u64::MAX, 1..20), hosts in 1..9usize) {
        let history: Vec<State> = took.iter().map(|took| ended(1, plan(1, false), &[(StepName::Health, *took)])).collect();
        let estimate = estimate::estimate(&plan(hosts, false), &history);
        let used = took.len().min(5);
        let median = estimate.steps[0].median.0;
        prop_assert!(took[..used].contains(&median));
        prop_assert!(took[..used].iter().filter(|one| **one < median).count() <= used / 2);
        prop_assert!(took[..used].iter().filter(|one| **one > median).count() <= used / 2);
        prop_assert_eq!(estimate.total, Some(Millis(median.saturating_mul(hosts as u64))));
    }
}

fn service(kind: ServiceKind, hosts: &str) -> Service {
    Service {
        kind,
        hosts: Selector::parse(hosts).unwrap(),
        environment: BTreeMap::new(),
        working_directory: RelativePath::root(),
        resources: Resources::default(),
        start_timeout: Millis(1),
        stop_timeout: Millis(1),
    }
}

#[test]
fn every_service_is_told_with_what_becomes_of_it() {
    let name = |text: &str| ServiceName::parse(text).unwrap();
    let command = |singleton| ServiceKind::Command { command: vec!["python".into()], singleton, overlap: true };
    let units = ServiceKind::Units { units: vec!["erp.service".into()], cutover: UnitCutover::Reload, listen: None };
    let (mut old, mut new) = (samples::manifest("1.0"), samples::manifest("1.1"));
    old.spec.services =
        [("beat", command(true)), ("own", units.clone()), ("gone", command(false))].map(|(n, kind)| (name(n), service(kind, ""))).into();
    new.spec.services =
        [("beat", command(true), ""), ("own", units, ""), ("web", command(false), ""), ("mail", command(false), "role=mail")]
            .map(|(n, kind, hosts)| (name(n), service(kind, hosts)))
            .into();
    let told = services::services(Some(&old), &new, &plan(3, false));
    let told: Vec<_> = told.iter().map(|s| (s.name.as_str(), s.change, s.hosts, s.only_on.as_ref().map(HostName::as_str))).collect();
    let expected = [
        ("beat", ServiceChange::Restarts, Some(1), Some("web-0")),
        ("mail", ServiceChange::Starts, Some(0), None),
        ("own", ServiceChange::Reloads, Some(3), None),
        ("web", ServiceChange::Starts, Some(3), None),
        ("gone", ServiceChange::Goes, None, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn variables_are_compared_with_the_rollout_that_brought_what_runs() {
    let name = |text: &str| roadstead_model::VariableName::parse(text).unwrap();
    let with = |mut plan: Plan, values: &[(&str, &str)]| {
        plan.values.variables = values.iter().map(|(n, value)| (name(n), (*value).to_owned())).collect();
        plan
    };
    let next = with(plan(1, false), &[("A", "1"), ("B", "2"), ("C", "3")]);
    let mut before = with(plan(1, false), &[("B", "2"), ("C", "4"), ("D", "5")]);
    before.release = samples::release("1.0").reference();
    let told = variables(&next, &[ended(8, before.clone(), &[])]).unwrap();
    let told: Vec<_> = told.iter().map(|one| (one.name.to_string(), one.change)).collect();
    let told: Vec<_> = told.iter().map(|(name, change)| (name.as_str(), *change)).collect();
    assert_eq!(told, [("A", VariableChange::Set), ("C", VariableChange::Changed), ("D", VariableChange::Removed)]);
    assert_eq!(variables(&next, &[]), None, "nobody knows what the app was given");
    let mut other = next.clone();
    other.overrides =
        vec![Values { files: BTreeMap::from([(RelativePath::parse("config/a.toml").unwrap(), "1".to_owned())]), ..Values::default() }];
    let told = variables(&other, &[ended(8, before.clone(), &[])]).unwrap();
    let told: Vec<_> = told.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(told, ["A", "C", "D", "file:config/a.toml"], "B says what it said");
    let first = Plan { previous: None, ..next };
    assert_eq!(variables(&first, &[]).unwrap().len(), 3);
}

fn django() -> Django {
    let settings = "erp.settings".into();
    Django { settings, manage: RelativePath::root(), migrate: true, lock_timeout: None, statement_timeout: None }
}

#[test]
fn migrations_are_named_as_far_as_the_release_names_them() {
    let mut new = samples::release("1.1");
    new.manifest.spec.django = Some(django());
    let told = |new: &ReleaseRecord, away: bool| {
        let mut foreseen = foreseen(new.clone(), Some(samples::release("1.0")), Some(plan(2, true)));
        if away {
            foreseen.away.insert(samples::host_id(0));
        }
        let outlook = outlook(&foreseen, vec![], &nothing_read(), &[]);
        let silent = new.manifest.migrations.first().map(|_| "does not tell what its migrations do");
        assert_eq!(outlook.notes.len(), usize::from(away) + usize::from(silent.is_some()), "{:?}", outlook.notes);
        assert!(silent.is_none_or(|silent| outlook.notes.iter().any(|note| note.contains(silent))), "{:?}", outlook.notes);
        outlook.plan.unwrap().migration.unwrap()
    };
    assert_eq!((told(&new, false).new, told(&new, false).host.as_str()), (None, "web-0"), "it could not be asked when it was built");
    assert_eq!(told(&new, true).host.as_str(), "web-1");
    new.manifest.migrations = vec!["billing.0001_initial".into()];
    let names = told(&new, false).new.unwrap().into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names, ["billing.0001_initial"]);
    let calm = foreseen(new, None, Some(plan(2, false)));
    assert_eq!(outlook(&calm, vec![], &nothing_read(), &[]).plan.unwrap().migration, None);
}

#[test]
fn what_migrations_do_is_told_as_the_release_tells_it() {
    let mut new = samples::release("1.1");
    new.manifest.spec.django = Some(django());
    new.manifest.migrations = vec!["a.0002_b".into(), "z.0001_first".into()];
    let text = r#"{"format":1,"engine":"sqlite","migrations":[
        {"name":"z.0001_first","operations":[{"kind":"DeleteModel","table":"t","reversible":true}],"sql":"DROP TABLE t;"},
        {"name":"a.0002_b","operations":[],"without_sql":"ValueError: x"}]}"#;
    let facts = roadstead_bundle::migrations::MigrationFacts::decode(text.as_bytes()).unwrap();
    let told = |facts| {
        let foreseen = foreseen(new.clone(), Some(samples::release("1.0")), Some(plan(2, true)));
        let outlook = outlook(&foreseen, vec![], &Contents { facts, ..nothing_read() }, &[]);
        (outlook.plan.unwrap().migration.unwrap(), outlook.notes.join("; "))
    };
    let (migration, notes) = told(Ok(Some(facts)));
    let new = migration.new.unwrap();
    assert_eq!(migration.backup, BackupDemand::None, "as the samples' policy has it");
    assert_eq!(
        (new[0].name.as_str(), new[0].sql.as_deref(), new[1].without_sql.as_deref()),
        ("z.0001_first", Some("DROP TABLE t;"), Some("ValueError: x"))
    );
    assert_eq!(new[0].class.map(|class| class.as_str()), Some("contract"));
    assert!(notes.contains("SQL is for sqlite"), "{notes}");
    let (migration, notes) = told(Err("blob 1234 is damaged on disk".to_owned()));
    assert_eq!(migration.new.unwrap()[0].class, None);
    assert!(notes.contains("is not known: blob 1234 is damaged on disk"), "{notes}");
}

/// A release whose code is what lies in a folder.
fn release_of(blobs: &Blobs, folder: &Path, version: &str) -> ReleaseRecord {
    let mut manifest = samples::manifest(version);
    manifest.code = ingest(blobs, folder, &|_, _| true).unwrap();
    let bytes = manifest.encode();
    ReleaseRecord { digest: roadstead_model::Digest::of(&bytes), bytes, manifest, ..samples::release(version) }
}

#[test]
fn a_host_fetches_what_its_own_releases_do_not_hold() {
    let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = Blobs::open(store.path(), Form::Compressed).unwrap();
    blobs.put(b"[]").unwrap();
    for (path, text) in [("erp/a.py", "one"), ("erp/b.py", "two"), ("docs/c.md", "three"), ("manage.py", "four")] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let old = release_of(&blobs, folder.path(), "1.0");
    fs::write(folder.path().join("erp/a.py"), "one, and more").unwrap();
    fs::remove_file(folder.path().join("docs/c.md")).unwrap();
    let new = release_of(&blobs, folder.path(), "1.1");

    let of = |current: Option<ReleaseId>, releases: Vec<ReleaseId>| {
        let mut facts = samples::facts(1);
        facts.apps.insert(samples::app(), roadstead_model::AppState { current, releases, ..Default::default() });
        Holding::of(&new, &samples::app(), Some(&facts))
    };
    let holdings = [
        of(None, vec![]),
        of(Some(old.id()), vec![old.id()]),
        of(Some(old.id()), vec![new.id()]),
        Holding::of(&new, &samples::app(), None),
    ];
    let holdings = holdings.into_iter().enumerate().map(|(number, holding)| (samples::host_id(number), holding)).collect();
    let known = BTreeMap::from([(old.id(), old.manifest.clone())]);
    let contents = read(&blobs, Some(&old), &new, holdings, &known);
    let size = |digest: &roadstead_model::Digest| fs::metadata(blobs.path_of(digest)).unwrap().len();
    let all = |release: &ReleaseRecord| {
        let blobs = roadstead_bundle::walk::blobs(&blobs, &release.manifest).unwrap();
        blobs.into_iter().map(|(digest, _)| digest).collect::<BTreeSet<_>>()
    };
    let (whole, part) = (all(&new), all(&new).difference(&all(&old)).copied().collect::<BTreeSet<_>>());
    assert_eq!(part.len(), 3, "a file, its folder and the root");
    let sum = |blobs: &BTreeSet<_>| new.bytes.len() as u64 + blobs.iter().map(size).sum::<u64>();
    let bytes: Vec<u64> = contents.bytes.clone().unwrap().into_values().collect();
    assert_eq!(bytes, [sum(&whole), sum(&part), 0, sum(&whole)]);
    let files = files(contents.files.as_ref().unwrap().as_ref().unwrap());
    assert_eq!((files.all, files.folders.len()), (Counts { added: 0, changed: 1, removed: 1 }, 2));

    // What is not in the store is said, and is not taken for nothing.
    blobs.remove(&new.manifest.code.root).unwrap();
    let lost = read(&blobs, Some(&old), &new, BTreeMap::from([(samples::host_id(1), of(None, vec![]))]), &known);
    assert!(lost.bytes.is_err() && lost.files.is_err());
    let foreseen = foreseen(new, Some(old), Some(plan(1, false)));
    let outlook = outlook(&foreseen, vec![], &lost, &[]);
    assert_eq!(outlook.plan.unwrap().bytes_at_most, None);
    assert_eq!(outlook.notes.len(), 2, "{:?}", outlook.notes);
}

#[test]
fn a_host_that_the_installed_packages_do_not_fit_fetches_wheels() {
    let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = Blobs::open(store.path(), Form::Compressed).unwrap();
    blobs.put(b"[]").unwrap();
    fs::write(folder.path().join("django.whl"), "a wheel").unwrap();
    let mut new = samples::release("1.1");
    new.manifest.packages.wheels = Some(ingest(&blobs, folder.path(), &|_, _| true).unwrap());
    let mut other = samples::facts(1);
    other.architecture = "aarch64".to_owned();
    let holdings = [samples::facts(0), other].map(|facts| Holding::of(&new, &samples::app(), Some(&facts)));
    let holdings = holdings.into_iter().enumerate().map(|(number, holding)| (samples::host_id(number), holding)).collect();
    let contents = read(&blobs, None, &new, holdings, &BTreeMap::new());
    let bytes: Vec<u64> = contents.bytes.clone().unwrap().into_values().collect();
    assert!(bytes[0] < bytes[1], "{bytes:?}");
    let told = outlook(&foreseen(new, None, Some(plan(2, false))), vec![], &contents, &[]);
    assert_eq!(told.notes, ["a host whose C library is older than the builder's fetches wheels, which are not in its bytes"]);
}

#[test]
fn hosts_that_are_away_or_serve_it_already_are_told() {
    let mut plan = plan(7, false);
    let release = samples::release("1.1");
    plan.hosts.values_mut().next().unwrap().current = Some(release.reference());
    let mut foreseen = foreseen(release, Some(samples::release("1.0")), Some(plan));
    foreseen.away = (1..7).map(samples::host_id).collect();
    foreseen.gives_way = Some(RolloutId(8));
    foreseen.unused = vec![Key::parse("OLD").unwrap()];
    let told = outlook(&foreseen, vec![], &nothing_read(), &[]).notes;
    let expected = [
        "r-8 brings hosts level now; it gives way, and what it moves until then makes this another plan",
        "away now: web-1, web-2, web-3, web-4, web-5 and 1 more; more hosts than may be lost (0): unless they return in time, nobody moves",
        "1 of 7 hosts serve this release already",
        "the release does not take these variables of the environment: OLD",
    ];
    assert_eq!(told, expected);
}
