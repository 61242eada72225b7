//! `roadstead.toml`: what a team writes.

use roadstead_bundle::manifest::{FORMAT, Manifest, Packages, Source, TreeRef};
use roadstead_bundle::project;
use roadstead_bundle::spec::AppSpec;
use roadstead_model::{Digest, Timestamp, Version, limits};
use std::path::Path;

use crate::text::text;

/// A project that is read travels in a manifest and arrives as it was; a refused one is told where it is wrong, in order.
pub fn project(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let file = Path::new("roadstead.toml");
    match project::read(file, text) {
        Ok(project) => {
            assert!(text.len() as u64 <= limits::CONFIG_FILE_BYTES_MAX);
            assert!(project.spec.services.len() <= limits::SERVICES_MAX && project.spec.variables.len() <= limits::VARIABLES_MAX);
            let manifest = manifest(project.spec.clone());
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
            let more = format!("{text}\n# the end\n");
            if more.len() as u64 <= limits::CONFIG_FILE_BYTES_MAX {
                assert_eq!(project::read(file, &more), Ok(project), "a comment changes what is read");
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.mistakes.is_empty(), "refused without a word");
            let places: Vec<_> = mistakes.mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect();
            assert!(places.is_sorted() && places.iter().all(|(line, column)| is_in(text, *line, *column)), "{places:?}");
            assert!(mistakes.mistakes.iter().all(|mistake| !mistake.what.is_empty()));
        }
    }
}

/// Whether a place is in a text, or right behind a line of it.
fn is_in(text: &str, line: usize, column: usize) -> bool {
    let lines: Vec<&str> = text.split('\n').collect();
    line >= 1 && column >= 1 && lines.get(line - 1).is_some_and(|line| column <= line.chars().count() + 1)
}

fn manifest(spec: AppSpec) -> Manifest {
    let empty = TreeRef { root: Digest::of(b"[]"), entries: 0, bytes: 0 };
    Manifest {
        format: FORMAT,
        app: spec.name.clone(),
        version: Version::parse("1.0.0").unwrap(),
        source: Source {
            commit: "a".repeat(40),
            branch: None,
            author: "Ada <ada@example.org>".to_owned(),
            committed_at: Timestamp(1_700_000_000_000),
            dirty: false,
        },
        packages: Packages {
            lock: Digest::of(b"lock"),
            python: spec.python,
            architecture: "x86_64".to_owned(),
            libc: "glibc-2.36".to_owned(),
            installed: Some(empty.clone()),
            wheels: None,
            list: vec![],
        },
        spec,
        code: empty,
        statics: None,
        migrations: vec![],
        migration_facts: None,
    }
}
