//! Credentials from their issue to their end, with a provider that issues and remembers.

use async_trait::async_trait;
use roadstead_model::Order;
use roadstead_secrets::{Content, Document, Place, Provider, Value};
use roadstead_worker::samples::{of_app, order, prepare};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

use super::template::Template;
use super::*;
use crate::host::environment_file;
use crate::remembered;

/// Issues a user and a password for a minute each time.
#[derive(Debug, Default)]
struct Issuer {
    issued: AtomicUsize,
    renewed: AtomicUsize,
    ended: Mutex<BTreeSet<String>>,
    is_away: AtomicBool,
    /// From the second question on nothing is answered until somebody calls it off, and then it is.
    is_slow: AtomicBool,
}

impl Issuer {
    fn lease(id: &str) -> Lease {
        let minute = serde_json::json!({ "secs": 60, "nanos": 0 });
        let half = serde_json::json!({ "secs": 30, "nanos": 0 });
        let text = serde_json::json!({ "provider": "db", "id": id, "duration": minute, "renewable": true, "renew_in": half });
        serde_json::from_value(text).unwrap()
    }

    fn answers(&self) -> Result<(), Fault> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Fault::Unreachable { address: "db.example.org".to_owned(), why: "it is away".to_owned() }),
            false => Ok(()),
        }
    }

    fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().iter().cloned().collect()
    }
}

#[async_trait]
impl Provider for Issuer {
    async fn read(&self, place: Place<'_>, _until: Instant) -> Result<Document, Fault> {
        self.answers()?;
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        if number > 0 && self.is_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let values = ["user", "password"].map(|key| (key.to_owned(), Value::new(format!("{key}/of-{number}").into_bytes())));
        let lease = (place.path.as_str() != "lasting").then(|| Self::lease(&format!("db/{number}")));
        Ok(Document { content: Content::Keys(values.into()), version: None, lease })
    }

    async fn renew(&self, lease: &Lease, _until: Instant) -> Result<Lease, Fault> {
        self.answers()?;
        if self.ended.lock().unwrap().contains(lease.id()) {
            return Err(Fault::LeaseGone { address: "db.example.org".to_owned() });
        }
        self.renewed.fetch_add(1, Ordering::Relaxed);
        Ok(lease.clone())
    }

    async fn revoke(&self, lease: &Lease, _until: Instant) -> Result<(), Fault> {
        self.answers()?;
        self.ended.lock().unwrap().insert(lease.id().to_owned());
        Ok(())
    }

    async fn look(&self, _until: Instant) -> Result<String, Fault> {
        Ok(String::new())
    }
}

/// How the command of an order stands; nobody can tell while systemd is away.
#[derive(Debug, Default)]
struct Commands {
    of: Mutex<Option<(OrderKey, Standing)>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Runs for Commands {
    async fn standing(&self, _app: &AppName, order: OrderKey) -> Result<Standing, Failure> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Failure::new(FailureKind::Host, "systemd is away", "")),
            false => Ok(self.of.lock().unwrap().filter(|(of, _)| *of == order).map_or(Standing::Gone, |(_, standing)| standing)),
        }
    }
}

struct Host {
    root: TempDir,
    layout: Layout,
    issuer: Arc<Issuer>,
    commands: Arc<Commands>,
    app: AppName,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            layout: Layout::new(root.path()),
            root,
            issuer: Arc::default(),
            commands: Arc::default(),
            app: AppName::parse("erp").unwrap(),
        }
    }

    /// As after a start of the agent: nothing but what lies on the disk.
    fn agent(&self) -> Credentials {
        // What the operator names needs no leave of a pattern.
        let issuer: Arc<dyn Provider> = self.issuer.clone();
        let providers = Providers::default().with("db".parse().unwrap(), issuer, Vec::new());
        Credentials::new(self.layout.clone(), Arc::new(providers), Arc::<Commands>::clone(&self.commands))
    }

    /// A command of the order runs, or of none.
    fn runs(&self, order: Option<&Order>) {
        self.stands(order, Standing::Runs);
    }

    fn stands(&self, order: Option<&Order>, standing: Standing) {
        *self.commands.of.lock().unwrap() = order.map(|order| (order.key(), standing));
    }

    fn order(&self, rollout: u64) -> Order {
        of_app(order(rollout, 1, prepare()), "erp")
    }

    async fn begin(&self, agent: &Credentials, order: &Order, place: &str) -> Result<Turn, Failure> {
        self.begin_until(agent, order, &settings(place), &CancellationToken::new()).await
    }

    async fn begin_until(
        &self,
        agent: &Credentials,
        order: &Order,
        settings: &MigrationSettings,
        cancelled: &CancellationToken,
    ) -> Result<Turn, Failure> {
        let wanted = Wanted { app: &self.app, order: order.key(), step: StepName::Migrate, settings, tree: self.root.path() };
        agent.begin(wanted, cancelled).await
    }

    fn values(&self) -> Option<BTreeMap<VariableName, String>> {
        let text = fs::read_to_string(self.layout.credentials_file(&self.app)).ok()?;
        Some(environment_file::parse(&text).unwrap())
    }

    fn is_clear(&self) -> bool {
        self.values().is_none() && !self.layout.credentials_hidden(&self.app).exists() && !self.layout.issued(&self.app).exists()
    }
}

fn settings(place: &str) -> MigrationSettings {
    let variable = |name: &str, text: String| (VariableName::parse(name).unwrap(), Template::parse(&text).unwrap());
    let variables = [
        variable("DB_PASSWORD", format!("db:{place}#password")),
        variable("DATABASE_URL", format!("postgres://{{db:{place}#user}}:{{db:{place}#password}}@db/erp")),
    ];
    MigrationSettings { variables: variables.into(), backup: true }
}

#[tokio::test]
async fn they_are_root_s_while_they_are_in_force_and_gone_when_the_step_ends() {
    let host = Host::new();
    let agent = host.agent();
    let turn = host.begin(&agent, &host.order(1), "migrator").await.unwrap();
    let values: Vec<String> = host.values().unwrap().into_values().collect();
    assert_eq!(values, ["postgres://user%2Fof-0:password%2Fof-0@db/erp", "password/of-0"]);
    for path in [host.layout.credentials_file(&host.app), host.layout.credentials_hidden(&host.app), host.layout.issued(&host.app)] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700, "{}", path.display());
    }
    assert!(!fs::read_to_string(host.layout.issued(&host.app)).unwrap().contains("of-0"), "no value is on a disk");
    // Whatever is said of the app meanwhile, each of them is hidden as it is and as it stands in the text.
    let secrets = crate::secrets::Secrets::of(&host.layout, &host.app).await;
    for text in ["password/of-0", "user/of-0", "user%2Fof-0", "postgres://user%2Fof-0:password%2Fof-0@db/erp"] {
        let shown = secrets.hide(text);
        assert!(shown.starts_with("[value of ") && !shown.contains("of-0"), "{shown}");
    }
    assert_eq!(turn.words(), "credentials for migrations are in force, issued for 1 min, renewed as long as this lasts");
    assert_eq!(turn.end().await, None);
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_issued_is_renewed_as_long_as_the_step_runs() {
    let host = Host::new();
    let agent = host.agent();
    let mut turn = host.begin(&agent, &host.order(1), "migrator").await.unwrap();
    let said = Mutex::new(Vec::<String>::new());
    let say = |line: &str| said.lock().unwrap().push(line.to_owned());
    drop(tokio::time::timeout(Duration::from_secs(305), turn.keep(say)).await);
    assert_eq!((host.issuer.renewed.load(Ordering::Relaxed), said.lock().unwrap().len()), (10, 0));

    // A provider that is away for a while is told once, and asked until it is back.
    host.issuer.is_away.store(true, Ordering::Relaxed);
    drop(tokio::time::timeout(Duration::from_secs(55), turn.keep(say)).await);
    host.issuer.is_away.store(false, Ordering::Relaxed);
    drop(tokio::time::timeout(Duration::from_secs(40), turn.keep(say)).await);
    assert!(host.issuer.renewed.load(Ordering::Relaxed) > 10);
    assert!(matches!(said.lock().unwrap().as_slice(), [one] if one.contains("it is away")), "{said:?}");

    // Nobody can renew what somebody has ended; that is told, and is no end of the step.
    host.issuer.ended.lock().unwrap().insert("db/0".to_owned());
    drop(tokio::time::timeout(Duration::from_secs(300), turn.keep(say)).await);
    let said = said.into_inner().unwrap();
    assert!(said.len() == 2 && said[1].contains("have ended before the step"), "{said:?}");
    assert_eq!(turn.end().await, None);
    assert!(host.is_clear());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_carried_on_goes_on_with_what_it_has() {
    let host = Host::new();
    drop(host.begin(&host.agent(), &host.order(1), "migrator").await.unwrap());
    // What has ended meanwhile is read like what still runs.
    host.stands(Some(&host.order(1)), Standing::Ended);
    let before = host.values().unwrap();
    let mut turn = host.begin(&host.agent(), &host.order(1), "migrator").await.unwrap();
    drop(tokio::time::timeout(Duration::from_secs(1), turn.keep(|line| panic!("{line}"))).await);
    assert_eq!((host.values().unwrap(), host.issuer.renewed.load(Ordering::Relaxed)), (before, 1));
    assert!(turn.words().contains("before the agent's start") && turn.hidden().any(|(_, value)| value == "password/of-0"));
    turn.end().await;
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0"]);

    // Where nothing runs with it, where what ran has ended and it is over, and where another order left it, that is ended first.
    let of = |last: usize| (0..=last).map(|number| format!("db/{number}")).collect::<Vec<_>>();
    for (order, standing, last) in
        [(host.order(1), Standing::Gone, 2), (host.order(1), Standing::Ended, 4), (host.order(2), Standing::Ended, 6)]
    {
        let number = host.issuer.issued.load(Ordering::Relaxed);
        host.runs(None);
        drop(host.begin(&host.agent(), &host.order(1), "migrator").await.unwrap());
        if standing == Standing::Ended && order.key() == host.order(1).key() {
            host.issuer.ended.lock().unwrap().insert(format!("db/{number}"));
        }
        host.stands(Some(&host.order(1)), standing);
        let turn = host.begin(&host.agent(), &order, "migrator").await.unwrap();
        assert!(host.values().unwrap().values().any(|value| *value == format!("password/of-{}", number + 1)));
        turn.end().await;
        assert_eq!(host.issuer.ended(), of(last));
    }

    // Nothing is begun beside a command of another order that still runs, and nothing is taken from it.
    host.runs(None);
    drop(host.begin(&host.agent(), &host.order(1), "migrator").await.unwrap());
    host.runs(Some(&host.order(1)));
    let failure = host.begin(&host.agent(), &host.order(2), "migrator").await.unwrap_err();
    assert!(
        failure.summary.contains("a command of r-1") && failure.hint.contains("systemctl list-units 'roadstead-erp*-r-1-1"),
        "{failure:?}"
    );
    assert!(host.values().is_some());
    assert_eq!(host.issuer.ended(), of(6));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_ended_takes_no_other_with_it_while_a_command_runs_with_them() {
    let host = Host::new();
    let with_two = MigrationSettings { variables: settings("one").variables, backup: true };
    let two = [("REPORTS_URL", "db:two#password")].map(|(name, text)| (VariableName::parse(name).unwrap(), Template::parse(text).unwrap()));
    let with_two = MigrationSettings { variables: with_two.variables.into_iter().chain(two).collect(), ..with_two };
    let never = CancellationToken::new();
    drop(host.begin_until(&host.agent(), &host.order(1), &with_two, &never).await.unwrap());
    host.runs(Some(&host.order(1)));
    host.issuer.ended.lock().unwrap().insert("db/0".to_owned());
    let before = host.values().unwrap();
    let mut turn = host.begin_until(&host.agent(), &host.order(1), &with_two, &never).await.unwrap();
    let said = Mutex::new(Vec::<String>::new());
    drop(tokio::time::timeout(Duration::from_secs(70), turn.keep(|line| said.lock().unwrap().push(line.to_owned()))).await);
    assert!(matches!(said.lock().unwrap().as_slice(), [one] if one.contains("have ended before the step")), "{said:?}");
    assert!(host.issuer.renewed.load(Ordering::Relaxed) >= 2, "the other one is kept");
    assert_eq!((host.values().unwrap(), host.issuer.ended()), (before, vec!["db/0".to_owned()]));
    turn.end().await;
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0", "db/1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_leaves_nothing_that_was_issued() {
    let host = Host::new();
    host.issuer.is_slow.store(true, Ordering::Relaxed);
    let two = [("ONE", "db:one#password"), ("TWO", "db:two#password")];
    let variables = two.map(|(name, text)| (VariableName::parse(name).unwrap(), Template::parse(text).unwrap()));
    let with_two = MigrationSettings { variables: variables.into(), backup: true };
    // Between the first answer and the second, which is under way.
    let cancelled = CancellationToken::new();
    let (agent, order) = (host.agent(), host.order(1));
    let call_off = async {
        while host.issuer.issued.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        cancelled.cancel();
    };
    let (begun, ()) = tokio::join!(host.begin_until(&agent, &order, &with_two, &cancelled), call_off);
    assert_eq!(begun.unwrap_err().kind, FailureKind::Cancelled);
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0", "db/1"]);
    // Nobody is asked for what is called off already.
    host.begin_until(&agent, &order, &with_two, &cancelled).await.unwrap_err();
    assert_eq!(host.issuer.issued.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_a_step_lost_sight_of_keeps_its_credentials_until_it_has_ended() {
    let host = Host::new();
    let order = host.order(1);
    drop(host.begin(&host.agent(), &order, "migrator").await.unwrap());
    host.runs(Some(&order));
    for systemd_is_away in [false, true] {
        host.commands.is_away.store(systemd_is_away, Ordering::Relaxed);
        let agent = host.agent();
        assert!(agent.are_used(&host.app, order.key()).await, "that it runs is believed where nobody can tell");
        agent.sweep().await;
        assert!(host.values().is_some() && host.issuer.ended().is_empty());
    }
    assert_eq!(host.issuer.renewed.load(Ordering::Relaxed), 2);
    host.commands.is_away.store(false, Ordering::Relaxed);
    // Nobody reads any more how it ended.
    host.stands(Some(&order), Standing::Ended);
    host.agent().sweep().await;
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0"]);
}

#[tokio::test]
async fn what_a_crash_leaves_is_ended_once_nobody_carries_it_on() {
    let host = Host::new();
    let order = host.order(1);
    let journals = remembered::journals(&host.layout);
    let journal = journals.create(&order).unwrap();
    drop(host.begin(&host.agent(), &order, "migrator").await.unwrap());
    host.agent().sweep().await;
    assert!(host.values().is_some() && host.issuer.ended().is_empty(), "the step is to be carried on");

    drop(journal);
    journals.remove(&host.app, order.key()).unwrap();
    // Values go at once; what was issued is tried until its provider is back.
    host.issuer.is_away.store(true, Ordering::Relaxed);
    host.agent().sweep().await;
    assert!(host.values().is_none() && host.layout.issued(&host.app).exists() && host.issuer.ended().is_empty());
    assert!(host.begin(&host.agent(), &host.order(2), "migrator").await.is_err());
    assert!(host.layout.issued(&host.app).exists());
    host.issuer.is_away.store(false, Ordering::Relaxed);
    host.agent().sweep().await;
    assert!(host.is_clear());
    assert_eq!(host.issuer.ended(), ["db/0"]);
}

#[tokio::test]
async fn one_that_cannot_be_ended_is_not_forgotten_by_the_next_step_and_not_touched_while_that_runs() {
    let host = Host::new();
    let agent = host.agent();
    let turn = host.begin(&agent, &host.order(1), "migrator").await.unwrap();
    host.issuer.is_away.store(true, Ordering::Relaxed);
    assert!(turn.end().await.unwrap().contains("it is away"));
    host.issuer.is_away.store(false, Ordering::Relaxed);
    let turn = host.begin(&agent, &host.order(2), "migrator").await.unwrap();
    assert_eq!(host.issuer.ended(), ["db/0"]);
    agent.sweep().await;
    assert!(host.values().is_some());
    turn.end().await;
    assert_eq!(host.issuer.ended(), ["db/0", "db/1"]);
}

#[tokio::test]
async fn a_password_that_stays_is_there_for_the_step_alone() {
    let host = Host::new();
    let agent = host.agent();
    let turn = host.begin(&agent, &host.order(1), "lasting").await.unwrap();
    assert_eq!(turn.words(), "credentials for migrations are in force");
    // As when the agent is killed: the next one removes the values.
    drop(turn);
    assert!(host.values().is_some());
    host.agent().sweep().await;
    assert!(host.is_clear() && host.issuer.ended().is_empty());
}

#[tokio::test]
async fn a_provider_that_is_away_fails_the_step_and_says_where_it_was_named() {
    let host = Host::new();
    host.issuer.is_away.store(true, Ordering::Relaxed);
    let failure = host.begin(&host.agent(), &host.order(1), "migrator").await.unwrap_err();
    assert!(failure.summary.contains("[migrations.erp] of agent.toml") && failure.summary.contains("it is away"), "{failure:?}");
    assert!(host.is_clear());
}
