//! A release made up for tests.

use roadstead_model::{AppName, Digest, Timestamp, Version};
use std::collections::BTreeMap;

use crate::manifest::{FORMAT, Manifest, Package, Packages, Source, TreeRef};
use crate::spec::{AppSpec, Checks, Hooks, PythonVersion, RelativePath, StepLimits};

/// A small manifest whose trees are empty folders.
pub(crate) fn manifest() -> Manifest {
    let empty = TreeRef { root: Digest::of(b"[]"), entries: 0, bytes: 0 };
    let python = PythonVersion { major: 3, minor: 11 };
    let app = AppName::parse("erp").unwrap();
    Manifest {
        format: FORMAT,
        app: app.clone(),
        version: Version::parse("1.0.0").unwrap(),
        source: Source {
            commit: "a".repeat(40),
            branch: Some("main".to_owned()),
            author: "Ada <ada@example.org>".to_owned(),
            committed_at: Timestamp(1_700_000_000_000),
            dirty: false,
        },
        spec: AppSpec {
            name: app,
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
            list: vec![Package { name: "django".to_owned(), version: "5.2.1".to_owned() }],
        },
        statics: None,
        migrations: vec![],
        migration_facts: None,
    }
}
