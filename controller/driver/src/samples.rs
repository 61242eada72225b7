//! Hosts and releases that are made up, for tests and simulators.

#![allow(clippy::unwrap_used, reason = "all of it is written here, and a test reads all of it")]

use roadstead_bundle::manifest::{FORMAT, Manifest, Packages, Source, TreeRef};
use roadstead_bundle::spec::{AppSpec, Checks, Hooks, PythonVersion, RelativePath, Resources, Service, ServiceKind, StepLimits};
use roadstead_model::{
    AppName, Digest, DiskSpace, EnvironmentName, EnvironmentSpec, Gates, HostFacts, HostId, HostName, Labels, Millis, Selector,
    ServiceName, Share, Strategy, Timeouts, Timestamp, Version,
};
use std::collections::BTreeMap;

use crate::{HostRecord, ReleaseRecord, SignatureRecord};

const THEN: Timestamp = Timestamp(1_700_000_000_000);

/// An app.
#[must_use]
pub fn app() -> AppName {
    AppName::parse("erp").unwrap()
}

/// A host's id.
#[must_use]
pub fn host_id(number: usize) -> HostId {
    HostId::parse(&format!("host{number:022}")).unwrap()
}

/// What a host says of itself that runs nothing yet.
#[must_use]
pub fn facts(number: usize) -> HostFacts {
    HostFacts {
        host_name: HostName::parse(&format!("web-{number}")).unwrap(),
        agent_version: "0.1.0".to_owned(),
        operating_system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        architecture: "x86_64".to_owned(),
        systemd: "252".to_owned(),
        boot_id: "b".to_owned(),
        pythons: Vec::new(),
        disk: DiskSpace { free_bytes: 1, free_inodes: 1 },
        apps: BTreeMap::new(),
        release_keys: None,
    }
}

/// A host as it is remembered.
#[must_use]
pub fn host_record(number: usize) -> HostRecord {
    HostRecord {
        id: host_id(number),
        name: facts(number).host_name,
        environment: EnvironmentName::parse("staging").unwrap(),
        labels: Labels::default(),
        facts: facts(number),
        enrolled_at: THEN,
        last_seen: THEN,
        revoked_at: None,
        locked: false,
        certificate_not_after: Timestamp(u64::MAX / 4),
    }
}

/// An environment in which nothing waits for long.
#[must_use]
pub fn environment() -> EnvironmentSpec {
    EnvironmentSpec {
        name: EnvironmentName::parse("staging").unwrap(),
        app: app(),
        hosts: Selector::default(),
        gates: Gates::default(),
        database: roadstead_model::DatabasePolicy {
            backup: roadstead_model::BackupDemand::None,
            ..roadstead_model::DatabasePolicy::default()
        },
        drift: roadstead_model::DriftPolicy::default(),
        failover: None,
        strategy: Strategy { batch: Share::Count(1), max_unavailable: Share::Count(1), ..Strategy::default() },
        traffic: None,
        analysis: None,
        bake: Millis(0),
        keep: 3,
        timeouts: Timeouts::default(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        files: BTreeMap::new(),
        overrides: vec![],
    }
}

/// A manifest whose trees are empty folders.
#[must_use]
pub fn manifest(version: &str) -> Manifest {
    let empty = TreeRef { root: Digest::of(b"[]"), entries: 0, bytes: 0 };
    let python = PythonVersion { major: 3, minor: 11 };
    Manifest {
        format: FORMAT,
        app: app(),
        version: Version::parse(version).unwrap(),
        source: Source { commit: "a".repeat(40), branch: None, author: "Ada".to_owned(), committed_at: THEN, dirty: false },
        spec: AppSpec {
            name: app(),
            python,
            root: RelativePath::root(),
            django: None,
            variables: BTreeMap::new(),
            statics: None,
            shared: vec![],
            from_host: vec![],
            configured: vec![],
            services: BTreeMap::new(),
            checks: Checks::default(),
            hooks: Hooks::default(),
            jobs: BTreeMap::new(),
            steps: StepLimits::default(),
        },
        code: empty.clone(),
        packages: Packages {
            lock: Digest::of(b"lock"),
            python,
            architecture: "x86_64".to_owned(),
            libc: "glibc-2.36".to_owned(),
            installed: Some(empty),
            wheels: None,
            list: vec![],
        },
        statics: None,
        migrations: vec![],
        migration_facts: None,
    }
}

/// A service that runs only once.
#[must_use]
pub fn beat() -> (ServiceName, Service) {
    let kind = ServiceKind::CeleryBeat { app: "erp".to_owned(), arguments: vec![] };
    let service = Service {
        kind,
        hosts: Selector::default(),
        environment: BTreeMap::new(),
        working_directory: RelativePath::root(),
        resources: Resources::default(),
        start_timeout: Millis::from_secs(60),
        stop_timeout: Millis::from_secs(10),
    };
    (ServiceName::parse("beat").unwrap(), service)
}

/// A release of that version, signed by nobody who matters.
#[must_use]
pub fn release(version: &str) -> ReleaseRecord {
    let manifest = manifest(version);
    let bytes = manifest.encode();
    ReleaseRecord {
        digest: Digest::of(&bytes),
        bytes,
        manifest,
        signatures: vec![SignatureRecord { key_id: vec![1; 16], signature: vec![2; 64] }],
        published_at: THEN,
        published_by: "admin:ada".to_owned(),
        bad: String::new(),
    }
}
