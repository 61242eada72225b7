//! Plans that are made up, for tests.

use roadstead_model::outlook::*;
use roadstead_model::*;

fn release(version: &str) -> ReleaseId {
    ReleaseId::of(&Version::parse(version).unwrap(), &Digest::of(version.as_bytes()))
}

fn service(name: &str, change: ServiceChange, hosts: Option<usize>, only_on: Option<&str>) -> ServiceOutlook {
    let only_on = only_on.map(|host| HostName::parse(host).unwrap());
    ServiceOutlook { name: ServiceName::parse(name).unwrap(), change, hosts, only_on }
}

fn host(number: usize, serves: Option<&str>, bytes: Option<u64>) -> HostOutlook {
    HostOutlook {
        id: HostId::parse(&format!("{number:026}")).unwrap(),
        name: HostName::parse(&format!("web-{number}")).unwrap(),
        serves: serves.map(release),
        away: false,
        chosen_for: Vec::new(),
        bytes_at_most: bytes,
    }
}

/// The first release in an environment of two hosts.
pub(crate) fn first() -> Outlook {
    let package = |name: &str| PackageChange { name: name.to_owned(), before: None, after: Some("1.0".to_owned()) };
    let names = (1..=9).map(|number| NewMigration::named(format!("billing.000{number}_step")));
    Outlook {
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        release: release("1.0"),
        current: None,
        obstacles: Vec::new(),
        gates: Vec::new(),
        notes: Vec::new(),
        plan: Some(Course {
            digest: Digest::of(b"first"),
            batches: vec![Batch {
                hosts: vec![host(1, None, Some(48_000_000)), host(2, None, Some(48_000_000))],
                bake: Millis::from_secs(60),
                promotion: Promotion::Automatic,
            }],
            max_unavailable: 2,
            failure_budget: 0,
            on_failure: OnFailure::GoBack,
            timeouts: Timeouts::default(),
            traffic: None,
            analysis: None,
            migration: Some(Migration {
                host: host(1, None, None).name,
                django: true,
                new: Some(names.collect()),
                hooks: false,
                backup: BackupDemand::default(),
            }),
            services: vec![service("web", ServiceChange::Starts, Some(2), None)],
            bytes_at_most: Some(96_000_000),
            estimate: Estimate { bakes: Millis::from_secs(60), ..Estimate::default() },
        }),
        changes: Changes {
            files: None,
            packages: ["celery", "django"].map(package).into(),
            lost_migrations: vec![],
            variables: Some(vec![]),
        },
    }
}

fn analysis() -> Analysis {
    let number = |value| Number::new(value).ok();
    let query = |name: &str, at_most, at_most_baseline| Query {
        name: name.to_owned(),
        query: "errors{instance=~\"$hosts:.*\"}".to_owned(),
        at_most,
        at_least: None,
        at_most_baseline,
        failures: 2,
        inconclusive: 5,
    };
    let page = Check {
        name: "front page".to_owned(),
        url: "http://$host/healthz".to_owned(),
        status: 200,
        contains: Some("ok".to_owned()),
        failures: 1,
        inconclusive: 5,
    };
    Analysis {
        prometheus: Some("http://prometheus:9090".to_owned()),
        every: Millis::from_secs(15),
        queries: vec![query("errors", number(0.01), None), query("latency", None, number(1.5))],
        checks: vec![page],
    }
}

/// A migration that the release tells of.
fn currency() -> NewMigration {
    let sql = "BEGIN;\n--\n-- Add field currency to invoice\n--\nALTER TABLE \"billing_invoice\" ADD COLUMN \"currency\" varchar(3) DEFAULT 'EUR' NOT NULL;\n\
               ALTER TABLE \"billing_invoice\" ALTER COLUMN \"currency\" DROP DEFAULT;\nCOMMIT;";
    let notes = [
        "The release that runs cannot insert into billing_invoice: currency is NOT NULL, and Django leaves no default in the database.",
        "billing_invoice is locked (ACCESS EXCLUSIVE) briefly: reads and writes wait.",
    ];
    NewMigration {
        class: Some(MigrationClass::Contract),
        old_release: Some(OldRelease::Breaks),
        reversible: Some(true),
        notes: notes.map(str::to_owned).into(),
        sql: Some(sql.to_owned()),
        ..NewMigration::named("billing.0010_currency".to_owned())
    }
}

/// An upgrade that begins with a canary.
pub(crate) fn upgrade() -> Outlook {
    let first = first();
    let counts = |added, changed, removed| Counts { added, changed, removed };
    let folders: Vec<(String, Counts)> = [("templates", counts(0, 9, 0)), ("erp", counts(4, 2, 1)), (".", counts(0, 1, 0))]
        .map(|(name, counts)| (name.to_owned(), counts))
        .into();
    let package = |name: &str, before: Option<&str>, after: Option<&str>| PackageChange {
        name: name.to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    let variable = |name: &str, change| VariableDifference { name: Key::parse(name).unwrap(), change };
    let step = |step, ms| StepEstimate { step, median: Millis(ms), runs: 8 };
    let mut canary = host(1, Some("1.0"), Some(3_250_000));
    canary.chosen_for = vec![ServiceName::parse("beat").unwrap()];
    let mut away = host(4, None, Some(48_000_000));
    away.away = true;
    let batch = |hosts, bake, promotion| Batch { hosts, bake: Millis::from_secs(bake), promotion };
    let plan = first.plan.map(|plan| Course {
        digest: Digest::of(b"upgrade"),
        batches: vec![
            batch(vec![canary], 600, Promotion::Manual),
            batch(vec![host(2, Some("1.0"), Some(3_250_000)), host(3, Some("1.0"), Some(3_250_000))], 0, Promotion::Automatic),
            batch(vec![away], 60, Promotion::Automatic),
        ],
        failure_budget: 1,
        analysis: Some(analysis()),
        on_failure: OnFailure::Ask,
        traffic: Some(TrafficOutlook {
            balancers: ["lb-1", "lb-2"].map(|name| HostName::parse(name).unwrap()).into(),
            drain: Millis::from_secs(30),
            switched_from: Vec::new(),
        }),
        migration: plan.migration.map(|migration| Migration { new: Some(vec![currency()]), hooks: true, ..migration }),
        services: vec![
            service("beat", ServiceChange::Restarts, Some(1), Some("web-1")),
            service("mail", ServiceChange::Starts, Some(0), None),
            service("web", ServiceChange::Restarts, Some(4), None),
            service("flower", ServiceChange::Goes, None, None),
        ],
        bytes_at_most: Some(57_750_000),
        estimate: Estimate {
            total: Some(Millis(672_400)),
            bakes: Millis::from_secs(660),
            promotions: 1,
            steps: vec![step(StepName::Fetch, 3_210), step(StepName::Candidate, 2_050), step(StepName::Cutover, 40)],
            unknown: vec![StepName::Migrate],
            from: vec![RolloutId(16), RolloutId(14)],
        },
        ..plan
    });
    Outlook {
        release: release("1.1"),
        current: Some(release("1.0")),
        gates: vec![GateOutlook {
            why: "the approval of one of dba".to_owned(),
            way: "not of admin:ada, who asked for it: roadstead rollout approve r-8".to_owned(),
        }],
        notes: vec!["away now: web-4; within the failure budget: left out, and level later".to_owned()],
        plan,
        changes: Changes {
            files: Some(FileChanges { all: counts(4, 12, 1), folders, more_folders: 0 }),
            packages: vec![
                package("django", Some("5.1"), Some("5.2")),
                package("flower", Some("2.0"), None),
                package("pillow", None, Some("10.1")),
            ],
            lost_migrations: vec!["crm.0003_old".to_owned()],
            variables: Some(vec![variable("DEBUG", VariableChange::Removed), variable("MAIL_FROM", VariableChange::Set)]),
        },
        ..first
    }
}

/// A release that was found broken, while another rollout runs, and no host is there.
pub(crate) fn refused() -> Outlook {
    let obstacle = |kind: &str, what: &str, next: &str| Obstacle { kind: kind.to_owned(), what: what.to_owned(), next: next.to_owned() };
    Outlook {
        obstacles: vec![
            obstacle(
                "busy",
                "r-17 of erp to staging has not ended",
                "watch it with `roadstead rollout watch r-17`, or end it with `roadstead rollout abort r-17`",
            ),
            obstacle("bad-release", "1.1 is not rolled out again: web did not answer", "build and push a corrected release"),
        ],
        ..upgrade()
    }
}
