//! Sample apps for the tests of this crate.

use roadstead_bundle::manifest::{Manifest, Package, Packages, Source, TreeRef};
use roadstead_bundle::spec::{
    AppSpec, Checks, Hooks, HttpCheck, Listen, PythonVersion, RelativePath, Resources, Service, ServiceKind, StepLimits, Variable,
};
use roadstead_model::{AppName, Digest, Millis, Selector, ServiceName, Timestamp, VariableName, Version};
use std::collections::BTreeMap;

pub(crate) fn service(kind: ServiceKind) -> Service {
    Service {
        kind,
        hosts: Selector::default(),
        environment: BTreeMap::new(),
        working_directory: RelativePath::root(),
        resources: Resources::default(),
        start_timeout: Millis::from_secs(60),
        stop_timeout: Millis::from_secs(30),
    }
}

pub(crate) fn gunicorn() -> ServiceKind {
    ServiceKind::Gunicorn {
        app: "config.wsgi:application".into(),
        workers: 2,
        threads: 4,
        timeout_seconds: 30,
        arguments: Vec::new(),
        listen: Listen::Unix,
    }
}

pub(crate) fn uvicorn() -> ServiceKind {
    let listen = Listen::Tcp { address: std::net::Ipv4Addr::LOCALHOST.into(), port: 8000 };
    ServiceKind::Uvicorn { app: "config.asgi:application".into(), workers: 2, arguments: Vec::new(), listen }
}

pub(crate) fn daphne() -> ServiceKind {
    ServiceKind::Daphne { app: "config.asgi:application".into(), arguments: Vec::new(), listen: Listen::Unix }
}

pub(crate) fn worker() -> ServiceKind {
    ServiceKind::CeleryWorker { app: "config".into(), queues: vec!["mail".into(), "default".into()], concurrency: 3, arguments: Vec::new() }
}

pub(crate) fn beat() -> ServiceKind {
    ServiceKind::CeleryBeat { app: "config".into(), arguments: Vec::new() }
}

pub(crate) fn app() -> AppName {
    AppName::parse("erp").unwrap()
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(crate) fn spec() -> AppSpec {
    let variable = |required, default: Option<&str>| Variable { default: default.map(Into::into), required, ..Variable::default() };
    AppSpec {
        name: app(),
        python: PythonVersion::parse("3.11").unwrap(),
        root: RelativePath::root(),
        django: None,
        variables: BTreeMap::from([
            (VariableName::parse("SECRET_KEY").unwrap(), variable(true, None)),
            (VariableName::parse("DEBUG").unwrap(), variable(false, Some("False"))),
        ]),
        statics: None,
        shared: vec![RelativePath::parse("media").unwrap()],
        from_host: vec![],
        configured: vec![],
        services: BTreeMap::from([
            (name("web"), service(gunicorn())),
            (name("worker"), service(worker())),
            (name("beat"), service(beat())),
        ]),
        checks: Checks { health: vec![check("/healthz/")], smoke: Vec::new() },
        hooks: Hooks::default(),
        jobs: BTreeMap::new(),
        steps: StepLimits::default(),
    }
}

pub(crate) fn check(path: &str) -> HttpCheck {
    HttpCheck {
        service: name("web"),
        path: path.into(),
        status: 200,
        contains: None,
        headers: BTreeMap::new(),
        timeout: Millis::from_secs(2),
        within: Millis::from_secs(5),
        successes: 1,
    }
}

/// A release with that manifest, and no configuration.
pub(crate) fn release(version: &str) -> crate::steps::release::Release {
    let manifest = manifest(version);
    crate::steps::release::Release::new(manifest.release_id(), manifest)
}

pub(crate) fn manifest(version: &str) -> Manifest {
    let tree = || TreeRef { root: Digest::of(version.as_bytes()), entries: 1, bytes: 1 };
    Manifest {
        format: 1,
        app: app(),
        version: Version::parse(version).unwrap(),
        source: Source { commit: "c".into(), branch: None, author: "a".into(), committed_at: Timestamp(0), dirty: false },
        spec: spec(),
        code: tree(),
        packages: Packages {
            lock: Digest::of(b"lock"),
            python: PythonVersion::parse("3.11").unwrap(),
            architecture: std::env::consts::ARCH.into(),
            libc: "glibc-2.17".into(),
            installed: Some(tree()),
            wheels: None,
            list: vec![Package { name: "gunicorn".into(), version: "23.0.0".into() }],
        },
        statics: None,
        migrations: Vec::new(),
        migration_facts: None,
    }
}
