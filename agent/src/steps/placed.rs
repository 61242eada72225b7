//! Files of this host that a release sees at declared paths of its tree: a module of secrets that no repository holds, a certificate.
//!
//! They come from root's folder on the host and from nowhere else: no order carries a file.

use roadstead_bundle::spec::RelativePath;
use roadstead_model::{Failure, FailureKind, limits};
use roadstead_worker::files::{read_bounded, write_atomically};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::release::Release;
use super::util::{io_failure, on_disk};
use crate::host::user::{Account, own, own_folder};
use crate::layout::Layout;

/// Whether every file that a release asks for is on the host.
pub(crate) fn look(layout: &Layout, release: &Release) -> Result<(), Failure> {
    release.manifest.spec.from_host.iter().try_for_each(|path| read(layout, release, path).map(drop))
}

/// Copies the host's files to where the links of the release's tree lead: the app's user reads them, and cannot change them.
pub(crate) fn place(layout: &Layout, release: &Release, account: &Account) -> Result<(), Failure> {
    let (all, folder) = (layout.placed(release.app()), layout.placed_of(release.app(), &release.id));
    let make = |path: &Path| own_folder(path, None, Some(account), 0o750).map_err(|error| io_failure("make the folder", path, &error));
    for path in &release.manifest.spec.from_host {
        let (content, place) = (read(layout, release, path)?, folder.join(path.as_str()));
        make(&all)?;
        let mut inner = folder.clone();
        make(&inner)?;
        for part in Path::new(path.as_str()).parent().into_iter().flat_map(Path::iter) {
            inner.push(part);
            make(&inner)?;
        }
        write_atomically(&place, &content, 0o640).map_err(|error| on_disk(&error))?;
        own(&place, None, Some(account)).map_err(|error| io_failure("own", &place, &error))?;
    }
    Ok(())
}

fn read(layout: &Layout, release: &Release, path: &RelativePath) -> Result<Vec<u8>, Failure> {
    let place = layout.host_files(release.app()).join(path.as_str());
    let unfit = |why: String, hint: &str| Failure::new(FailureKind::Unfit, why, hint);
    let found = fs::metadata(&place).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let why = format!("the release needs the file {path} from this host, and there is no {}", place.display());
            unfit(why, "put it there as root, with the rights 0600, then deploy again")
        }
        _ => io_failure("look at", &place, &error),
    })?;
    let own = found.uid() == nix::unistd::Uid::effective().as_raw() && found.permissions().mode() & 0o022 == 0;
    if !found.is_file() || !own {
        let why = format!("{} could have been written by others: it must be a file of root's that nobody else may write", place.display());
        return Err(unfit(why, "look at what it says, then run chown root and chmod 600 on it"));
    }
    read_bounded(&place, limits::CONFIG_FILE_BYTES_MAX)
        .map_err(|error| unfit(roadstead_worker::failure::chain(&error), "use a smaller file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use nix::unistd::{Gid, Uid};

    #[test]
    fn files_of_the_host_are_asked_for_by_name_and_follow_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let mut manifest = samples::manifest("1.0");
        manifest.spec.from_host = vec![RelativePath::parse("config/settings/local.py").unwrap()];
        let release = Release::new(manifest);
        let account = Account { name: "me".to_owned(), uid: Uid::current(), gid: Gid::current() };
        let failure = look(&layout, &release).unwrap_err();
        assert!(failure.summary.contains("etc/roadstead/apps/erp/config/settings/local.py"), "{}", failure.summary);
        let source = layout.host_files(release.app()).join("config/settings/local.py");
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        let placed = layout.placed_of(release.app(), &release.id).join("config/settings/local.py");
        for content in ["KEY = 1", "KEY = 2"] {
            fs::write(&source, content).unwrap();
            fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
            look(&layout, &release).unwrap();
            place(&layout, &release, &account).unwrap();
            assert_eq!(fs::read_to_string(&placed).unwrap(), content);
        }
        assert_eq!(fs::metadata(&placed).unwrap().mode() & 0o777, 0o640);
        fs::set_permissions(&source, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(look(&layout, &release).unwrap_err().summary.contains("written by others"));
    }
}
