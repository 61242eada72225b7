//! `roadstead build`: a signed bundle from a commit.

use roadstead_bundle::container;
use roadstead_bundle::release::UntrustedRelease;
use std::path::PathBuf;

use super::key;
use crate::build::assemble::{self, Wanted};
use crate::failure::{Failure, Result};
use crate::output::{Output, size};

/// Makes a release bundle from a commit: the same commit gives the same release on every machine of a kind.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead build --sign release.key\n  roadstead build --commit v1.4.2 --sign release.key --out /tmp/erp.bundle"
)]
pub(crate) struct Arguments {
    /// The folder of roadstead.toml, in a git repository.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The commit, tag or branch to build.
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    commit: String,
    /// Build the files as they lie in the working tree; the release is marked.
    #[arg(long, conflicts_with = "commit")]
    dirty: bool,
    /// The branch to name in the release, where git cannot know it.
    #[arg(long)]
    branch: Option<String>,
    /// A private key to sign with; may be given several times.
    #[arg(long, alias = "key", value_name = "KEY")]
    sign: Vec<PathBuf>,
    /// Make a bundle that nobody signed: no host takes it.
    #[arg(long, conflicts_with = "sign")]
    unsigned: bool,
    /// The Python to build with, where the right one is not found.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// The bundle to write; APP-VERSION.bundle by default.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds, signs and writes the bundle.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    if arguments.sign.is_empty() && !arguments.unsigned {
        return Err(Failure::usage("hosts take signed releases only: say which key signs it with --sign KEY, or --unsigned")
            .hint("make a key with `roadstead key generate --out release.key`"));
    }
    let keys = arguments.sign.iter().map(|file| key::read(file)).collect::<Result<Vec<_>>>()?;
    let wanted = Wanted {
        folder: &arguments.folder,
        revision: &arguments.commit,
        dirty: arguments.dirty,
        branch: arguments.branch.as_deref(),
        python: arguments.python.as_deref(),
    };
    let built = assemble::build(&wanted, output)?;
    let (id, manifest) = (built.manifest.release_id(), built.manifest.encode());
    let signatures = keys.iter().map(|key| key.sign(&manifest)).collect();
    let failed = |error: &dyn std::error::Error| Failure::failed("the bundle is not written").because(error);
    let release = UntrustedRelease::new(manifest, signatures).map_err(|error| failed(&error))?;
    let name = || PathBuf::from(format!("{}-{}.bundle", built.manifest.app, built.manifest.version));
    let out = arguments.out.clone().unwrap_or_else(name);
    let bytes = container::write(&out, &built.store, &release).map_err(|error| failed(&error))?;
    let json =
        serde_json::json!({ "release": id, "digest": release.digest(), "bundle": out, "bytes": bytes, "warnings": output.warnings() });
    output.result(&json, || format!("{id} is in {} ({}).", out.display(), size(bytes)));
    Ok(())
}
