//! Collectstatic: the release's static files join those of the release that serves. Both are there until the old one is gone.

use roadstead_bundle::spec::Collect;
use roadstead_model::{AppName, Failure, OrderKind, ReleaseId, StepName};
use std::path::{Path, PathBuf};

use super::StepContext;
use super::commands::{self, Task, expect_success};
use super::publish;
use super::release::{Release, below};
use super::util::{disk, io_failure};
use crate::host::statics;
use crate::host::user::own_folder;
use crate::layout::Layout;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, publish, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let Some(wanted) = &release.manifest.spec.statics else { return Ok("no static files".to_owned()) };
    if wanted.collect == Collect::Host {
        collect(context, &release).await?;
    }
    let layout = context.layout.clone();
    let joined = release.clone();
    let merged = disk(move || join(&layout, &joined, false)).await?;
    let note = format!("{} files, {} of them new", merged.files, merged.changed);
    if *publish {
        return Ok(note);
    }
    // A controller that knows of no such step is no reason to move without.
    let published = publish::before(context, &release, StepName::Collectstatic).await?;
    Ok(format!("{note}; {published}"))
}

/// Where a release's static files lie.
pub(super) fn source(layout: &Layout, release: &Release) -> Option<PathBuf> {
    let statics = release.manifest.spec.statics.as_ref()?;
    Some(match statics.collect {
        Collect::Build | Collect::Host => layout.collected_of(release.app(), &release.id),
        Collect::Never => below(&release.root(layout), &statics.root),
    })
}

/// `manage.py collectstatic`, into the release's folder of collected files, to which `STATIC_ROOT` in the tree is a link.
async fn collect(context: &StepContext, release: &Release) -> Result<(), Failure> {
    let Some(django) = &release.manifest.spec.django else { return Ok(()) };
    let folder = context.layout.collected_of(release.app(), &release.id);
    let manage = below(&release.root(&context.layout), &django.manage).display().to_string();
    let words: Vec<String> = ["python", &manage, "collectstatic", "--noinput"].iter().map(|word| (*word).to_owned()).collect();
    let task = Task {
        step: StepName::Collectstatic,
        name: "collectstatic".to_owned(),
        within: release.manifest.spec.steps.command_timeout,
        writable: vec![folder],
        binds: Vec::new(),
        environment_files: Vec::new(),
        anew: false,
    };
    let finished = commands::run(context, release, &words, &task, |_| {}).await?;
    expect_success(&finished, "manage.py collectstatic")
}

fn join(layout: &Layout, release: &Release, replace: bool) -> Result<statics::Merged, Failure> {
    let Some(source) = source(layout, release) else { return Ok(statics::Merged::default()) };
    let union = layout.statics(release.app());
    own_folder(&union, None, None, 0o755).map_err(|error| io_failure("make the folder", &union, &error))?;
    statics::merge(&union, &source, replace).map_err(|error| io_failure("bring static files into", &union, &error))
}

/// Where two releases have files of one name, those of the serving one are served.
pub(crate) fn prefer(layout: &Layout, release: &Release) -> Result<statics::Merged, Failure> {
    join(layout, release, true)
}

/// Removes static files that none of the releases has.
pub(crate) fn sweep(layout: &Layout, app: &AppName, kept: &[ReleaseId]) -> Result<u64, Failure> {
    let union = layout.statics(app);
    let loaded: Vec<Release> = kept.iter().filter_map(|id| Release::load(layout, app, id, None).ok()).collect();
    let sources: Vec<PathBuf> = loaded.iter().filter_map(|release| source(layout, release)).collect();
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    statics::sweep(&union, &sources).map_err(|error| io_failure("remove old static files from", &union, &error))
}
