//! The disks of hosts: an overlay each on the one image, and small real file systems where a test wants one to fill.

use crate::lab::command::run;
use crate::lab::error::{LabError, Result};
use crate::lab::registry::HostOptions;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::{Path, PathBuf};

/// Where images and the disks of labs are.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("ROADSTEAD_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/roadstead-lab"), PathBuf::from)
}

/// The image that `make setup` made.
pub(crate) fn image() -> Result<PathBuf> {
    let path = image_path()?;
    if path.is_dir() { Ok(path) } else { Err(LabError::NoImage(path)) }
}

/// Where the image is or would be: a lab can be taken down without it.
pub(crate) fn image_path() -> Result<PathBuf> {
    let setup = crate::lab::workspace().join("tests/lab/setup");
    Ok(PathBuf::from(run(&[&setup.to_string_lossy(), "--path"])?.trim_end()))
}

/// A host's folder of the lab: `root` is what the host sees, `changes` what differs from the image.
pub(crate) fn make(image: &Path, folder: &Path, options: &HostOptions) -> Result<()> {
    for name in ["changes", "work", "root"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(LabError::io("make", path))?;
    }
    let [changes, work, root] = ["changes", "work", "root"].map(|name| folder.join(name));
    let layers = format!("lowerdir={},upperdir={},workdir={}", image.display(), changes.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .map_err(|source| LabError::System { what: "mount the overlay of a host (is the lab's cache on an overlay itself?)", source })?;
    for (number, (at, mebibytes)) in options.disks.iter().enumerate() {
        let file = folder.join(format!("disk-{number}"));
        make_disk(&file, *mebibytes, &inside(&root, at))?;
    }
    Ok(())
}

fn make_disk(file: &Path, mebibytes: u32, at: &Path) -> Result<()> {
    let opened = fs::File::create(file).map_err(LabError::io("make", file))?;
    opened.set_len(u64::from(mebibytes) << 20).map_err(LabError::io("size", file))?;
    run(&["mkfs.ext4", "-q", "-m", "0", &file.to_string_lossy()])?;
    fs::create_dir_all(at).map_err(LabError::io("make", at))?;
    run(&["mount", "-o", "loop", &file.to_string_lossy(), &at.to_string_lossy()]).map(drop)
}

/// Unmounts everything below a host's folder, the deepest first, and removes the folder.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    for path in mounts_below(folder)? {
        umount2(&path, MntFlags::UMOUNT_NOFOLLOW).or_else(|_| umount2(&path, MntFlags::MNT_DETACH)).map_err(|source| LabError::Io {
            what: "unmount",
            path: path.clone(),
            source: source.into(),
        })?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// The mount points of this machine below a folder, the deepest first.
pub(crate) fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(LabError::io("read", table))?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    points.reverse();
    Ok(points)
}

/// A path of a host as this machine sees it.
pub(crate) fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
