//! Files that a release sees at declared paths of its tree and that it does not hold: of this host (a module of secrets that no repository
//! holds, a certificate), which come from root's folder and from nowhere else; and of the environment's configuration, which an order
//! carries, and of which none may be code.

use roadstead_bundle::configured::{is_code, missing};
use roadstead_bundle::spec::RelativePath;
use roadstead_model::{Failure, FailureKind, Key, Values, limits};
use roadstead_worker::files::{read_bounded, write_atomically};
use std::collections::BTreeMap;
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

/// Whether the configuration has every file that a release asks for, and no other.
pub(crate) fn configured(release: &Release, values: &Values) -> Result<(), Failure> {
    let spec = &release.manifest.spec;
    let unfit = |why: String| {
        let hint = "correct the environment's configuration (`roadstead config set`), or roadstead.toml";
        Failure::new(FailureKind::Unfit, why, hint)
    };
    for path in values.files.keys() {
        if !spec.configured.contains(path) {
            return Err(unfit(format!(
                "the configuration holds the file {path}, which roadstead.toml of the release does not take from it"
            )));
        }
        if let Some(why) = is_code(path) {
            return Err(unfit(format!(
                "the configuration holds the file {path}: {why}, so that it comes from nobody but root of the host"
            )));
        }
    }
    match missing(spec, values, None, |_| false).iter().find(|lack| matches!(lack.key, Key::File(_))) {
        Some(lack) => Err(unfit(lack.to_string())),
        None => Ok(()),
    }
}

/// Writes the host's files and those of the configuration to where the links of the release's tree lead: the app's user reads them, and
/// cannot change them.
pub(crate) fn place(layout: &Layout, release: &Release, files: &BTreeMap<RelativePath, String>, account: &Account) -> Result<(), Failure> {
    let mut contents = Vec::new();
    for path in &release.manifest.spec.from_host {
        contents.push((path, read(layout, release, path)?));
    }
    contents.extend(files.iter().map(|(path, text)| (path, text.clone().into_bytes())));
    let (all, folder) = (layout.placed(release.app()), layout.placed_of(release.app(), &release.id));
    let make = |path: &Path| own_folder(path, None, Some(account), 0o750).map_err(|error| io_failure("make the folder", path, &error));
    for (path, content) in contents {
        let place = folder.join(path.as_str());
        make(&all)?;
        let mut inner = folder.clone();
        make(&inner)?;
        for part in Path::new(path.as_str()).parent().into_iter().flat_map(Path::iter) {
            inner.push(part);
            make(&inner)?;
        }
        if fs::read(&place).is_ok_and(|before| before == content) && is_readable(&place, account) {
            continue;
        }
        write_atomically(&place, &content, 0o640).map_err(|error| on_disk(&error))?;
        own(&place, None, Some(account)).map_err(|error| io_failure("own", &place, &error))?;
    }
    Ok(())
}

/// Whether the app's user reads a file, and nobody else but root.
fn is_readable(place: &Path, account: &Account) -> bool {
    fs::metadata(place).is_ok_and(|found| found.mode() & 0o777 == 0o640 && found.gid() == account.gid.as_raw())
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
        let release = Release::new(manifest.release_id(), manifest);
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
            place(&layout, &release, &BTreeMap::new(), &account).unwrap();
            assert_eq!(fs::read_to_string(&placed).unwrap(), content);
        }
        assert_eq!(fs::metadata(&placed).unwrap().mode() & 0o777, 0o640);
        fs::set_permissions(&source, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(look(&layout, &release).unwrap_err().summary.contains("written by others"));
    }

    #[test]
    fn files_of_the_configuration_are_those_that_the_release_declares() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let mut manifest = samples::manifest("1.0");
        let path = |text: &str| RelativePath::parse(text).unwrap();
        manifest.spec.configured = vec![path("config/limits.toml")];
        let mut release = Release::new(manifest.release_id(), manifest);
        let account = Account { name: "me".to_owned(), uid: Uid::current(), gid: Gid::current() };
        let files = |names: &[&str]| names.iter().map(|name| (path(name), "rate = 5".to_owned())).collect::<BTreeMap<_, _>>();
        let of = |names: &[&str]| Values { files: files(names), ..Values::default() };
        assert!(configured(&release, &of(&[])).unwrap_err().summary.contains("file:config/limits.toml"));
        assert!(configured(&release, &of(&["config/limits.toml", "other.toml"])).unwrap_err().summary.contains("other.toml"));
        configured(&release, &of(&["config/limits.toml"])).unwrap();
        place(&layout, &release, &files(&["config/limits.toml"]), &account).unwrap();
        let placed = layout.placed_of(release.app(), &release.id).join("config/limits.toml");
        assert_eq!(fs::read_to_string(&placed).unwrap(), "rate = 5");
        assert_eq!(fs::metadata(&placed).unwrap().mode() & 0o777, 0o640);
        // Whoever signed it may have been deceived: the host looks once more.
        release.manifest.spec.configured.push(path("evil.py"));
        assert!(configured(&release, &of(&["config/limits.toml", "evil.py"])).unwrap_err().summary.contains("Python runs such files"));
    }
}
