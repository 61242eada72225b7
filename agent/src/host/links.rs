//! Symbolic links that move at once: what traffic and `current` hang on.

use roadstead_worker::files::sync_folder;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes `link` point at `target` by one rename: whoever looks sees the old or the new. Durable when `durable`.
pub(crate) fn point(link: &Path, target: &Path, durable: bool) -> io::Result<()> {
    let folder = link.parent().ok_or_else(|| io::Error::other("a link lies in a folder"))?;
    if std::fs::read_link(link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".new-{name}"));
    remove(&fresh)?;
    symlink(target, &fresh)?;
    std::fs::rename(&fresh, link)?;
    if durable { sync_folder(folder).map_err(|error| error.source) } else { Ok(()) }
}

/// Removes a link or file; one that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_moves_and_leftovers_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        symlink("half", folder.path().join(".new-current")).unwrap();
        point(&link, Path::new("releases/1"), true).unwrap();
        point(&link, Path::new("releases/2"), true).unwrap();
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("releases/2"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&link).unwrap();
        remove(&link).unwrap();
    }
}
