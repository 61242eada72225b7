//! Verdicts: a release that was found bad is marked so on the host, and is neither prepared nor started there again, whoever asks for it.
//!
//! The mark is a file of the release's name; it outlives the release's tree, and goes with the app.

use roadstead_model::{AppName, Failure, FailureKind, ReleaseId};
use roadstead_worker::files::{create_private_folder, write_atomically};

use super::util::on_disk;
use crate::layout::Layout;

/// Marks a release as bad on this host, for good.
pub(crate) fn condemn(layout: &Layout, app: &AppName, release: &ReleaseId) -> Result<(), Failure> {
    create_private_folder(&layout.bad_marks(app)).map_err(|error| on_disk(&error))?;
    let mark = layout.bad_mark(app, release);
    if mark.exists() {
        return Ok(());
    }
    write_atomically(&mark, b"", 0o600).map_err(|error| on_disk(&error))
}

/// Refuses one that was marked; `never` is what does not become of it again, such as `started`.
pub(crate) fn refuse(layout: &Layout, app: &AppName, release: &ReleaseId, never: &str) -> Result<(), Failure> {
    if !layout.bad_mark(app, release).exists() {
        return Ok(());
    }
    let summary = format!("{release} was marked bad on this host and is never {never} again");
    Err(Failure::new(FailureKind::Unfit, summary, "build a new version and deploy that, or go back to another release"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    #[test]
    fn what_was_marked_bad_is_never_started_again_and_nothing_else_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (layout, app) = (Layout::new(root.path()), samples::app());
        let (bad, good) = (samples::manifest("1.1").release_id(), samples::manifest("1.0").release_id());
        assert_eq!(refuse(&layout, &app, &bad, "started"), Ok(()));
        condemn(&layout, &app, &bad).unwrap();
        condemn(&layout, &app, &bad).unwrap();
        let failure = refuse(&layout, &app, &bad, "started").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unfit);
        assert_eq!(failure.summary, format!("{bad} was marked bad on this host and is never started again"));
        assert_eq!(refuse(&layout, &app, &good, "started"), Ok(()));
        let other = AppName::parse("other").unwrap();
        assert_eq!(refuse(&layout, &other, &bad, "started"), Ok(()), "another app has verdicts of its own");
    }
}
