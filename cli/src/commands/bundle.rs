//! `roadstead bundle`: looks into bundles, checks them, compares two.

use clap::Subcommand;
use roadstead_bundle::container::{self, Bundle};
use roadstead_bundle::diff::{Difference, diff};
use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::migrations::{MigrationFacts, told};
use roadstead_bundle::release::UntrustedRelease;
use roadstead_bundle::trust::TrustedKeys;
use roadstead_bundle::walk::migration_facts;
use roadstead_model::outlook::NewMigration;
use std::path::{Path, PathBuf};

use super::key;
use crate::failure::{self, Failure, Result};
use crate::output::{Output, count, printable, size};
use crate::remote::outlook_view::migrations;

/// Looks into release bundles.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead bundle inspect erp-1.4.2.bundle\n  roadstead bundle verify erp-1.4.2.bundle --keys release-keys.toml\n  roadstead bundle sign erp-1.4.2.bundle --key second.key\n  roadstead bundle diff erp-1.4.1.bundle erp-1.4.2.bundle"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows what a bundle says of itself, after reading all of it.
    #[command(after_help = "Examples:\n  roadstead bundle inspect erp-1.4.2.bundle\n  roadstead bundle inspect erp-1.4.2.bundle --sql")]
    Inspect {
        /// The bundle.
        #[arg(value_name = "BUNDLE")]
        file: PathBuf,
        /// Tell what each migration does, with its SQL.
        #[arg(long)]
        sql: bool,
    },
    /// Checks that a bundle is whole and signed by trusted keys, as a host does.
    #[command(after_help = "Example:\n  roadstead bundle verify erp-1.4.2.bundle --keys release-keys.toml")]
    Verify {
        /// The bundle.
        #[arg(value_name = "BUNDLE")]
        file: PathBuf,
        /// A release-keys.toml.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
    },
    /// Adds a signature to a bundle, where hosts want those of several keys.
    #[command(after_help = "Example:\n  roadstead bundle sign erp-1.4.2.bundle --key second.key")]
    Sign {
        /// The bundle; it is replaced by the signed one.
        #[arg(value_name = "BUNDLE")]
        file: PathBuf,
        /// A private key; may be given several times.
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
    },
    /// Shows what a newer bundle changes: files, packages, migrations.
    #[command(after_help = "Example:\n  roadstead bundle diff erp-1.4.1.bundle erp-1.4.2.bundle")]
    Diff {
        /// The older bundle.
        old: PathBuf,
        /// The newer one.
        new: PathBuf,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    match &arguments.action {
        Action::Inspect { file, sql } => inspect(&Opened::read(file)?, *sql, output),
        Action::Verify { file, keys } => verify(file, keys, output),
        Action::Sign { file, key } => sign(file, key, output),
        Action::Diff { old, new } => compare(&Opened::read(old)?, &Opened::read(new)?, output),
    }
}

/// A bundle, read through, and what it says of itself.
struct Opened {
    bundle: Bundle,
    manifest: Manifest,
}

impl Opened {
    /// What it says of its migrations.
    fn facts(&self) -> Result<Option<MigrationFacts>> {
        migration_facts(&self.bundle, &self.manifest).map_err(|error| Failure::failed("its migrations cannot be read").because(&error))
    }

    fn read(file: &Path) -> Result<Self> {
        let refused = |error: &dyn std::error::Error| Failure::failed(format!("{} cannot be used", file.display())).because(error);
        let bundle = Bundle::open(file).map_err(|error| refused(&error))?;
        let manifest = bundle.release().claims().map_err(|error| refused(&error))?;
        Ok(Self { bundle, manifest })
    }
}

fn inspect(opened: &Opened, sql: bool, output: &Output) -> Result<()> {
    let manifest = &opened.manifest;
    let facts = opened.facts()?;
    let keys: Vec<String> = opened.bundle.release().signatures().iter().map(|signature| signature.key.to_string()).collect();
    let mut json = serde_json::json!({ "release": manifest.release_id(), "digest": opened.bundle.release().digest(), "keys": keys, "manifest": manifest });
    if let (true, Some(object)) = (sql, json.as_object_mut()) {
        object.insert("migrations".to_owned(), serde_json::json!(facts));
    }
    output.result(&json, || {
        let source = &manifest.source;
        let services: Vec<&str> = manifest.spec.services.keys().map(roadstead_model::ServiceName::as_str).collect();
        let lines = [
            format!("Release    {}", manifest.release_id()),
            format!("App        {}", manifest.app),
            format!("Commit     {}{}", source.commit, if source.dirty { " (dirty)" } else { "" }),
            format!("Author     {}", source.author),
            format!("Python     {} for {}, {}", manifest.packages.python, manifest.packages.architecture, manifest.packages.libc),
            format!("Code       {} files, {}", manifest.code.entries, size(manifest.code.bytes)),
            format!("Packages   {}: {}", manifest.packages.list.len(), forms(manifest)),
            format!("Migrations {}", migrations_known(manifest.migrations.len(), facts.as_ref())),
            format!("Services   {}", services.join(", ")),
            format!(
                "Signed by  {} (not checked: see `roadstead bundle verify`)",
                if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") }
            ),
        ];
        let every = facts.as_ref().filter(|_| sql).map(|facts| told(&manifest.migrations, Some(facts)));
        let every = every.iter().flatten().map(|one| format!("\n\n{}", migrations::part(one, true)));
        lines.join("\n") + &every.collect::<String>()
    });
    Ok(())
}

/// How many migrations there are, and how much is known of them.
fn migrations_known(count: usize, facts: Option<&MigrationFacts>) -> String {
    let Some(facts) = facts.filter(|_| count > 0) else {
        return if count > 0 { format!("{count}, by name alone") } else { "0".to_owned() };
    };
    let known = facts.migrations.iter().filter(|one| one.sql.is_some()).count();
    format!("{count}, {known} with SQL for {}", if facts.engine.is_empty() { "no engine" } else { &facts.engine })
}

/// In which forms the packages are there.
fn forms(manifest: &Manifest) -> String {
    let packages = &manifest.packages;
    let forms = [("installed", &packages.installed), ("as wheels", &packages.wheels)];
    let said = forms.iter().filter_map(|(form, tree)| tree.as_ref().map(|tree| format!("{form}, {}", size(tree.bytes))));
    said.collect::<Vec<_>>().join("; ")
}

fn verify(file: &Path, keys: &Path, output: &Output) -> Result<()> {
    let text = std::fs::read_to_string(keys).map_err(|error| failure::file("read", keys, &error))?;
    let keys = TrustedKeys::read(&text).map_err(|error| Failure::usage(format!("{} is not used", keys.display())).because(&error))?;
    let opened = Opened::read(file)?;
    let verified = opened.bundle.release().clone().verify(&keys);
    let verified = verified.map_err(|error| Failure::refused(format!("{} is not trusted", file.display())).because(&error))?;
    let json = serde_json::json!({ "release": verified.id(), "signed_by": verified.signed_by() });
    output.result(&json, || format!("{} is whole and signed by {}.", verified.id(), verified.signed_by().join(", ")));
    Ok(())
}

fn sign(file: &Path, keys: &[PathBuf], output: &Output) -> Result<()> {
    let keys = keys.iter().map(|file| key::read(file)).collect::<Result<Vec<_>>>()?;
    let opened = Opened::read(file)?;
    let manifest = opened.bundle.release().encoded().to_vec();
    let mut signatures = opened.bundle.release().signatures().to_vec();
    for key in &keys {
        signatures.retain(|earlier| earlier.key != key.public().id());
        signatures.push(key.sign(&manifest));
    }
    let ids: Vec<String> = signatures.iter().map(|signature| signature.key.to_string()).collect();
    let failed = |error: &dyn std::error::Error| Failure::failed(format!("{} is not signed", file.display())).because(error);
    let release = UntrustedRelease::new(manifest, signatures).map_err(|error| failed(&error))?;
    container::write(file, &opened.bundle, &release).map_err(|error| failed(&error))?;
    let id = opened.manifest.release_id();
    let json = serde_json::json!({ "release": id, "keys": ids });
    output.result(&json, || format!("{id} is signed by {}: {}.", count(ids.len(), "key"), ids.join(", ")));
    Ok(())
}

fn compare(old: &Opened, new: &Opened, output: &Output) -> Result<()> {
    let difference = diff((&old.bundle, &old.manifest), (&new.bundle, &new.manifest));
    let difference = difference.map_err(|error| Failure::failed("the bundles cannot be compared").because(&error))?;
    let news = told(&difference.new_migrations, new.facts()?.as_ref());
    let json = serde_json::json!({
        "added": difference.added, "changed": difference.changed, "removed": difference.removed, "packages": difference.packages,
        "new_migrations": difference.new_migrations, "lost_migrations": difference.lost_migrations, "migrations": news,
    });
    output.result(&json, || differing(&difference, &news));
    Ok(())
}

fn differing(difference: &Difference, migrations: &[NewMigration]) -> String {
    let mut lines = vec![format!(
        "{} added, {} changed, {} removed",
        count(difference.added.len(), "file"),
        difference.changed.len(),
        difference.removed.len()
    )];
    let marked = [("+", &difference.added), ("~", &difference.changed), ("-", &difference.removed)];
    lines.extend(marked.iter().flat_map(|(mark, paths)| paths.iter().map(move |path| format!("  {mark} {path}"))));
    let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    lines.extend(difference.packages.iter().map(|(name, old, new)| format!("  package {name}: {} -> {}", version(old), version(new))));
    for one in migrations {
        lines.push(format!("  migration {} is new{}", printable(&one.name), migrations::what(one)));
        lines.extend(one.notes.iter().map(|note| format!("    - {}", printable(note))));
    }
    let gone = |name: &String| format!("  migration {} is gone: the database may be ahead of this code", printable(name));
    lines.extend(difference.lost_migrations.iter().map(gone));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_lines() {
        let difference = Difference {
            added: vec!["a.py".to_owned()],
            changed: vec![],
            removed: vec!["b.py".to_owned()],
            packages: vec![("django".to_owned(), Some("5.1".to_owned()), None)],
            new_migrations: vec!["billing.0002_x".to_owned()],
            lost_migrations: vec!["billing.0003_y".to_owned()],
        };
        let expected = "1 file added, 0 changed, 1 removed\n  + a.py\n  - b.py\n  package django: 5.1 -> none\n  migration billing.0002_x is new\n  migration billing.0003_y is gone: the database may be ahead of this code";
        let news = told(&difference.new_migrations, None);
        assert_eq!(differing(&difference, &news), expected);
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bundle");
        std::fs::write(&path, "PK").unwrap();
        let failure = Opened::read(&path).err().unwrap();
        assert!(format!("{failure}").contains("no bundle"), "{failure}");
    }
}
