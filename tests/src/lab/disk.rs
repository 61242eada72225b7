//! The disks of hosts: an overlay each on the one image, and small real file systems where a test wants one to fill
//! or to record.

use crate::lab::command::run;
use crate::lab::error::{LabError, Result};
use crate::lab::recorder::Recorder;
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

/// A host's folder of the lab: `root` is what the host sees, `changes` what differs from the image. The changes of a host with a
/// recorded disk lie on that, which is mounted at `own`.
pub(crate) fn make(image: &Path, folder: &Path, options: &HostOptions) -> Result<Option<Recorder>> {
    let recorder = match options.recorded {
        Some(mebibytes) => Some(make_recorded(folder, mebibytes)?),
        None => None,
    };
    let root = mount_root(image, folder)?;
    for (number, (at, mebibytes)) in options.disks.iter().enumerate() {
        let file = folder.join(format!("disk-{number}"));
        make_disk(&file, *mebibytes, &inside(&root, at))?;
    }
    Ok(recorder)
}

fn mount_root(image: &Path, folder: &Path) -> Result<PathBuf> {
    let own = own(folder);
    let changed = if own.is_dir() { own.as_path() } else { folder };
    let [changes, work, root] = [changed.join("changes"), changed.join("work"), folder.join("root")];
    for path in [&changes, &work, &root] {
        fs::create_dir_all(path).map_err(LabError::io("make", path))?;
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", image.display(), changes.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .map_err(|source| LabError::System { what: "mount the overlay of a host (is the lab's cache on an overlay itself?)", source })?;
    Ok(root)
}

/// Where a disk is mounted that holds all that a host writes.
fn own(folder: &Path) -> PathBuf {
    folder.join("own")
}

fn make_recorded(folder: &Path, mebibytes: u32) -> Result<Recorder> {
    fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
    let (file, shown) = (folder.join("recorded"), folder.join("recorder"));
    // nothing that the kernel does later by itself: it would only lengthen the recording
    make_file_system(&file, mebibytes, &["-E", "lazy_itable_init=0,lazy_journal_init=0"])?;
    let recorder = Recorder::serve(&file, &shown)?;
    mount_file(&Recorder::file(&shown), &own(folder))?;
    Ok(recorder)
}

/// Puts another disk, a file with a file system, in the place of the one that holds all that a host wrote. The host is off.
pub(crate) fn replace(image: &Path, folder: &Path, file: &Path) -> Result<()> {
    for path in [folder.join("root"), own(folder)] {
        unmount_below(&path)?;
    }
    mount_file(file, &own(folder))?;
    mount_root(image, folder).map(drop)
}

/// Copies what differs from the image to a folder. The host is off, so nothing changes meanwhile.
pub(crate) fn save(folder: &Path, to: &Path) -> Result<()> {
    copy(&folder.join("changes"), to)
}

/// Makes what differs from the image what was saved. The host is off.
pub(crate) fn load(image: &Path, folder: &Path, saved: &Path) -> Result<()> {
    unmount_below(&folder.join("root"))?;
    for path in ["changes", "work"].map(|name| folder.join(name)) {
        fs::remove_dir_all(&path).map_err(LabError::io("remove", &path))?;
    }
    copy(saved, &folder.join("changes"))?;
    mount_root(image, folder).map(drop)
}

/// With owners, links, times, and what an overlay keeps in attributes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(&["cp", "--archive", &from.to_string_lossy(), &to.to_string_lossy()]).map(drop)
}

fn make_disk(file: &Path, mebibytes: u32, at: &Path) -> Result<()> {
    make_file_system(file, mebibytes, &[])?;
    mount_file(file, at)
}

fn make_file_system(file: &Path, mebibytes: u32, options: &[&str]) -> Result<()> {
    let opened = fs::File::create(file).map_err(LabError::io("make", file))?;
    opened.set_len(u64::from(mebibytes) << 20).map_err(LabError::io("size", file))?;
    run(&[&["mkfs.ext4", "-q", "-m", "0"], options, &[&*file.to_string_lossy()]].concat()).map(drop)
}

/// Mounts a file as a disk, with the options that a file system has by itself.
fn mount_file(file: &Path, at: &Path) -> Result<()> {
    fs::create_dir_all(at).map_err(LabError::io("make", at))?;
    run(&["mount", "-o", "loop", &file.to_string_lossy(), &at.to_string_lossy()]).map(drop)
}

/// Unmounts everything below a host's folder and removes the folder.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    unmount_below(folder)?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Unmounts everything at and below a folder, the deepest first.
fn unmount_below(folder: &Path) -> Result<()> {
    for path in mounts_below(folder)? {
        umount2(&path, MntFlags::UMOUNT_NOFOLLOW).or_else(|_| umount2(&path, MntFlags::MNT_DETACH)).map_err(|source| LabError::Io {
            what: "unmount",
            path: path.clone(),
            source: source.into(),
        })?;
    }
    Ok(())
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
