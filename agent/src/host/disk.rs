//! Free space.

use roadstead_model::DiskSpace;
use std::path::Path;

/// Free space of the file system that a path, or the nearest folder above it that exists, lies on.
pub(crate) fn free(path: &Path) -> std::io::Result<DiskSpace> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or_else(|| Path::new("/"));
    let stats = nix::sys::statvfs::statvfs(existing)?;
    let counts_inodes = stats.files() > 0;
    let free_inodes = if counts_inodes { stats.files_available() } else { u64::MAX };
    Ok(DiskSpace { free_bytes: stats.blocks_available().saturating_mul(stats.fragment_size()), free_inodes })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_that_is_not_there_yet_is_on_the_disk_of_its_folder() {
        let space = super::free(std::path::Path::new("/tmp/not/there")).unwrap();
        assert!(space.free_bytes > 0 && space.free_inodes > 0, "{space:?}");
    }
}
