//! A change of configuration goes the way of a release: to hosts in batches, judged, and back with the release that ran with it.

use roadstead_bundle::spec::{ValueType, Variable};
use roadstead_model::{ConfigurationId, Digest, Key, Selector, VariableName};
use roadstead_rollout::RolloutKind;

use super::*;
use crate::store::before::database_of_before;
use crate::store::{Edit, NotSet};

fn name(text: &str) -> VariableName {
    VariableName::parse(text).unwrap()
}

/// A release that reads a pool's size, and needs a level.
fn reading(version: &str) -> ReleaseRecord {
    let mut record = release(version);
    let pool = Variable { kind: ValueType::Integer, ..Variable::default() };
    let level = Variable { required: true, ..Variable::default() };
    record.manifest.spec.variables = [("POOL", pool), ("LEVEL", level)].map(|(text, variable)| (name(text), variable)).into();
    record.bytes = record.manifest.encode();
    record.digest = Digest::of(&record.bytes);
    record
}

impl Rig {
    /// Sets values for all hosts, and names the configuration that there is then.
    async fn set(&self, values: &[(&str, Option<&str>)]) -> Option<ConfigurationId> {
        self.set_for("", values).await.unwrap().id()
    }

    async fn set_for(&self, hosts: &str, values: &[(&str, Option<&str>)]) -> Result<ConfigurationRecord, NotSet> {
        let values = values.iter().map(|(key, value)| (Key::parse(key).unwrap(), value.map(str::to_owned))).collect();
        let edit = Edit { hosts: Selector::parse(hosts).unwrap(), values, expected: None };
        let (place, why) = ((environment().name, app()), ("admin:ada".to_owned(), "test".to_owned()));
        self.store.set_configuration(place, edit, why, clock::now()).await.unwrap()
    }

    async fn bring(&self, release: &ReleaseId) -> Result<RolloutRecord, Refused> {
        let begun = self.ask_for(release).await?;
        Ok(self.end(begun.state.plan.rollout).await)
    }

    async fn ask_for(&self, release: &ReleaseId) -> Result<Arc<RolloutRecord>, Refused> {
        let request = StartRequest {
            environment: environment().name,
            app: app(),
            release: release.clone(),
            reason: "test".to_owned(),
            by: "admin:ada".to_owned(),
            idempotency_key: String::new(),
            plan: None,
            contracts: vec![],
        };
        self.driver.ask(Verb::Start(request)).await
    }

    /// Hosts that serve a release, which this gives them with a configuration.
    async fn begin(folder: &Path, hosts: usize, disks: &Disks, behaviour: &Behaviour) -> Self {
        let rig = Self::start(folder).await;
        rig.prepare(hosts, &[]).await;
        for version in ["1.0", "1.1"] {
            rig.store.publish(reading(version), clock::now()).await.unwrap();
        }
        for number in 0..hosts {
            rig.connect(number, disks, behaviour).await;
        }
        rig
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_a_rollout_and_goes_back_with_its_release() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 2, &disks, &Behaviour::default()).await;
    let old = reading("1.0");
    let first = rig.set(&[("LEVEL", Some("INFO")), ("POOL", Some("8"))]).await;
    let done = rig.bring(&old.id()).await.unwrap();
    assert_eq!(done.state.phase.word(), "done");
    assert_eq!((done.state.plan.configuration, done.state.plan.migrate), (1, false));
    assert_eq!(serving(&disks), vec![Some(old.id().with(first.as_ref())); 2]);

    // The same release with another configuration: nothing else is brought.
    let second = rig.set(&[("POOL", Some("16"))]).await;
    assert_ne!(first, second);
    let done = rig.bring(&old.id()).await.unwrap();
    assert_eq!((done.state.phase.word(), done.state.plan.configuration), ("done", 2));
    assert_eq!(serving(&disks), vec![Some(old.id().with(second.as_ref())); 2]);
    assert_eq!(done.state.plan.values.variables[&name("POOL")], "16");

    // A newer release takes the newest configuration, and going back restores both.
    let third = rig.set(&[("LEVEL", Some("DEBUG"))]).await;
    let new = reading("1.1");
    assert_eq!(rig.bring(&new.id()).await.unwrap().state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(new.id().with(third.as_ref())); 2]);
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    let ended = rig.end(back).await;
    assert_eq!((ended.state.phase.word(), ended.state.plan.kind), ("done", RolloutKind::Rollback));
    assert_eq!(serving(&disks), vec![Some(old.id().with(second.as_ref())); 2]);

    // An id names its configuration, too: as it ran before the last change.
    let named = old.id().with(first.as_ref());
    assert_eq!(rig.bring(&named).await.unwrap().state.plan.values.variables[&name("POOL")], "8");
    assert_eq!(serving(&disks), vec![Some(named); 2]);
    rig.store.verify_history().await.unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_does_not_do_goes_back_and_the_release_is_not_to_blame() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let release = reading("1.0");
    // What POOL = 1 will be called.
    let bad = {
        let all = [("LEVEL", "INFO"), ("POOL", "1")];
        let fold = |known: roadstead_model::Configuration, (key, value): (&str, &str)| {
            known.with(&Selector::default(), &Key::parse(key).unwrap(), Some(value.to_owned())).unwrap()
        };
        Some(all.into_iter().fold(roadstead_model::Configuration::default(), fold).id())
    };
    let behaviour = Behaviour { broken: vec![release.id().with(bad.as_ref())], ..Behaviour::default() };
    let rig = Rig::begin(folder.path(), 2, &disks, &behaviour).await;
    let good = rig.set(&[("LEVEL", Some("INFO"))]).await;
    assert_eq!(rig.bring(&release.id()).await.unwrap().state.phase.word(), "done");
    assert_eq!(rig.set(&[("POOL", Some("1"))]).await, bad);
    let ended = rig.bring(&release.id()).await.unwrap();
    assert_ne!(ended.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release.id().with(good.as_ref())); 2]);
    let known = rig.store.release(&release.digest).await.unwrap().unwrap();
    assert_eq!(known.bad, "", "it runs, and runs well");
    // Hosts were not told to condemn what they may be asked to try again.
    assert_eq!(rig.set(&[("POOL", Some("2"))]).await.map(|id| id == *good.as_ref().unwrap()), Some(false));
    assert_eq!(rig.bring(&release.id()).await.unwrap().state.phase.word(), "done");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_release_needs_is_looked_at_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 1, &disks, &Behaviour::default()).await;
    let release = reading("1.0");
    rig.set(&[("POOL", Some("many"))]).await;
    let refused = rig.bring(&release.id()).await.unwrap_err();
    assert!(matches!(&refused, Refused::Lacking { problems, .. } if problems == &["POOL is to be a whole number"]), "{refused}");
    // Of a host that has told what its own file sets, it is known what it lacks.
    rig.set(&[("POOL", Some("8"))]).await;
    rig.sessions.cut(&host_id(0));
    let mut said = facts_of(0, &disks);
    said.apps.get_mut(&app()).unwrap().set = Some([].into());
    let opened = rig.sessions.open(&host_id(0));
    let epoch = opened.epoch;
    rig.driver.tell(Event::Hello { host: host_id(0), epoch, facts: Box::new(said), outcomes: vec![], steps: vec![] }).await;
    let refused = rig.bring(&release.id()).await.unwrap_err();
    let id = release.id().with(rig.store.newest_configuration(&environment().name, &app()).await.unwrap().unwrap().id().as_ref());
    let told = format!("the configuration of erp in staging is not what {id} needs: LEVEL is required and not set: every service needs it");
    assert_eq!(refused.to_string(), told);
    assert!(disks.lock().unwrap().values().all(|disk| disk.obeyed.is_empty()), "no host heard of it");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_come_level_with_the_configuration_that_runs_and_not_with_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 1, &disks, &Behaviour::default()).await;
    let release = reading("1.0");
    let runs = rig.set(&[("LEVEL", Some("INFO"))]).await;
    let done = rig.bring(&release.id()).await.unwrap();
    rig.set(&[("LEVEL", Some("DEBUG"))]).await;
    rig.store.add_host(host_record(1)).await;
    rig.connect(1, &disks, &Behaviour::default()).await;
    let level = rig.level(done.state.plan.rollout).await;
    let ended = rig.end(level).await;
    assert_eq!(ended.state.plan.values.variables[&name("LEVEL")], "INFO");
    assert_eq!(serving(&disks), vec![Some(release.id().with(runs.as_ref())); 2]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_value_has_one_place_and_versions_count_up() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 1, &disks, &Behaviour::default()).await;
    let mut spec = environment();
    spec.variables.insert(name("POOL"), "8".to_owned());
    rig.store.apply(spec.clone(), "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    assert!(matches!(rig.set_for("", &[("POOL", Some("9"))]).await, Err(NotSet::Invalid(_))));
    assert_eq!(rig.set_for("zone=b", &[("POOL", Some("9"))]).await.unwrap().version, 2);
    assert_eq!(rig.set_for("zone=b", &[("POOL", Some("9"))]).await.unwrap().version, 2, "nothing is different");
    assert!(matches!(rig.set_for("", &[("POOL", None)]).await, Err(NotSet::NotThere { .. })), "the file says it");
    // What was set stays when the file changes, and a file that says it too is refused.
    spec.variables.insert(name("LEVEL"), "INFO".to_owned());
    rig.store.apply(spec.clone(), "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    let newest = rig.store.newest_configuration(&spec.name, &spec.app).await.unwrap().unwrap();
    assert_eq!((newest.version, newest.content.set.len()), (3, 1));
    spec.overrides = vec![roadstead_model::Layer { hosts: Selector::parse("zone=b").unwrap(), ..newest.content.set[0].clone() }];
    assert!(rig.store.apply(spec.clone(), "admin:ada".to_owned(), clock::now()).await.unwrap().is_err());
    assert_eq!(rig.store.environment(&spec.name, &spec.app).await.unwrap().unwrap().spec.overrides, vec![], "nothing was applied");
    let all = rig.store.configurations(&spec.name, &spec.app, 10).await.unwrap();
    assert_eq!(all.iter().map(|known| known.version).collect::<Vec<_>>(), [3, 2, 1]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_before_configurations_had_names_is_level_and_can_be_gone_back_to() {
    let folder = tempfile::tempdir().unwrap();
    let (old, disks) = (reading("1.0"), Disks::default());
    let mut said = environment();
    said.variables = [("LEVEL", "INFO"), ("POOL", "8")].map(|(text, value)| (name(text), value.to_owned())).into();
    database_of_before(&folder.path().join("roadstead.db"), &old, &[said]).await;
    let rig = Rig::start(folder.path()).await;
    rig.store.publish(reading("1.1"), clock::now()).await.unwrap();
    for number in 0..2 {
        rig.store.add_host(host_record(number)).await;
        disks.lock().unwrap().entry(host_id(number)).or_default().current = Some(old.id()).filter(|_| number == 0);
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    // The one that serves nothing is brought level with what the environment ran, and is told what it said then.
    let level = rig.end(rig.level(RolloutId(0)).await).await;
    assert_eq!((level.state.plan.hosts.len(), level.state.plan.values.variables.len()), (1, 2));
    assert_eq!(serving(&disks), vec![Some(old.id()); 2]);

    // The next release is named with what is said, and what is behind it is still known.
    let new = reading("1.1");
    assert_eq!(rig.bring(&new.id()).await.unwrap().state.phase.word(), "done");
    let first = rig.store.newest_configuration(&environment().name, &app()).await.unwrap().unwrap();
    assert_eq!(first.version, 1);
    assert_eq!(serving(&disks), vec![Some(new.id().with(first.id().as_ref())); 2]);
    rig.store.add_host(host_record(2)).await;
    rig.connect(2, &disks, &Behaviour::default()).await;
    let level = rig.end(rig.level(level.state.plan.rollout).await).await;
    assert_eq!(level.state.plan.values.variables[&name("POOL")], "8");
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(back).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(old.id()); 3]);
    // Who comes then is told what was said when that ran.
    rig.store.add_host(host_record(3)).await;
    rig.connect(3, &disks, &Behaviour::default()).await;
    let level = rig.end(rig.level(back).await).await;
    assert_eq!((level.state.plan.values.variables.len(), level.state.plan.release.id.clone()), (2, old.id()));

    // When all of it is taken back, that is another configuration than the one that had no name.
    let empty = environment();
    rig.store.apply(empty, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    let none = rig.store.newest_configuration(&environment().name, &app()).await.unwrap().unwrap();
    assert_eq!((none.version, none.content.layers().count()), (2, 0));
    assert!(none.id().is_some());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_environment_runs_well_is_not_condemned() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let release = reading("1.0");
    let rig = Rig::begin(folder.path(), 0, &disks, &Behaviour::default()).await;
    let mut production = environment();
    production.name = roadstead_model::EnvironmentName::parse("production").unwrap();
    rig.store.apply(production.clone(), "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    let runs = Serving {
        environment: production.name,
        app: app(),
        current: Runs { release: release.reference(), configuration: 0 },
        previous: None,
        set: None,
    };
    rig.store.save(Changes { serving: vec![runs], ..Changes::default() }).await.unwrap();
    rig.store.add_host(host_record(0)).await;
    let id = rig.set(&[("LEVEL", Some("INFO"))]).await;
    let broken = Behaviour { broken: vec![release.id().with(id.as_ref())], ..Behaviour::default() };
    rig.connect(0, &disks, &broken).await;
    assert_ne!(rig.bring(&release.id()).await.unwrap().state.phase.word(), "done");
    assert_eq!(rig.store.release(&release.digest).await.unwrap().unwrap().bad, "", "it runs well there");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_two_answers_keeps_no_other_from_coming_level() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 1, &disks, &Behaviour::default()).await;
    let release = reading("1.0");
    rig.set(&[("LEVEL", Some("INFO"))]).await;
    rig.set_for("zone=b", &[("POOL", Some("1"))]).await.unwrap();
    rig.set_for("role=web", &[("POOL", Some("2"))]).await.unwrap();
    let done = rig.bring(&release.id()).await.unwrap();
    for (number, labels) in [(1, ["zone=b", "role=web"]), (2, ["zone=b", "role=mail"])] {
        let labels = roadstead_model::Labels::parse(labels).unwrap();
        rig.store.add_host(HostRecord { labels, ..host_record(number) }).await;
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    let level = rig.end(rig.level(done.state.plan.rollout).await).await;
    assert_eq!(level.state.plan.hosts.keys().collect::<Vec<_>>(), [&host_id(2)]);
    let told = rig.store.events(0, 0, 1000).await.unwrap();
    let clash = told.iter().find(|event| event.kind == "configuration-clash").unwrap();
    assert!(clash.text.starts_with("web-1 is not brought level: POOL has different values for web-1"), "{}", clash.text);
    // Asked for by somebody, it is refused; whoever goes back is not.
    let refused = rig.bring(&reading("1.1").id()).await.unwrap_err();
    assert!(matches!(refused, Refused::Clash(_)), "{refused}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_said_before_it_was_away_refuses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::begin(folder.path(), 1, &disks, &Behaviour::default()).await;
    let release = reading("1.0");
    rig.store.add_host(host_record(1)).await;
    let mut said = facts_of(1, &disks);
    said.apps.get_mut(&app()).unwrap().set = Some([].into());
    let opened = rig.sessions.open(&host_id(1));
    let epoch = opened.epoch;
    rig.driver.tell(Event::Hello { host: host_id(1), epoch, facts: Box::new(said), outcomes: vec![], steps: vec![] }).await;
    let refused = rig.bring(&release.id()).await.unwrap_err();
    assert!(refused.to_string().ends_with("LEVEL is required and not set: every service needs it (on web-1)"), "{refused}");
    assert!(rig.sessions.close(&host_id(1), epoch));
    rig.driver.tell(Event::Gone { host: host_id(1) }).await;
    let begun = rig.ask_for(&release.id()).await.unwrap();
    assert!(begun.state.hosts.contains_key(&host_id(1)), "whether it counts is the failure budget's matter");
    rig.stop().await;
}
