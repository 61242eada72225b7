//! A virtual environment for commands of the build itself, as hosts will have it: an interpreter that sees the release's packages and no others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::python::Python;
use crate::failure::{self, Failure, Result};

/// Makes the environment in `folder`; gives its `bin`.
pub(crate) fn make(python: &Python, tree: &Path, folder: &Path) -> Result<PathBuf> {
    let bin = folder.join("bin");
    let version = python.version().ok_or_else(|| Failure::failed(format!("Python {} is not one that apps run on", python.full)))?;
    let lib = folder.join(format!("lib/python{version}"));
    let made = || -> std::io::Result<()> {
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(&lib)?;
        let home = python.executable.parent().unwrap_or(Path::new("/usr/bin"));
        let config = format!("home = {}\ninclude-system-site-packages = false\nversion = {}\n", home.display(), python.full);
        fs::write(folder.join("pyvenv.cfg"), config)?;
        symlink(&python.executable, bin.join("python"))?;
        symlink("python", bin.join("python3"))?;
        symlink("python", bin.join(format!("python{version}")))?;
        symlink(tree.join("lib"), lib.join("site-packages"))?;
        for entry in fs::read_dir(tree.join("bin"))? {
            let entry = entry?;
            let target = bin.join(entry.file_name());
            if !target.exists() {
                // Copies, not links: a script looks for the python beside the file that it really is.
                fs::copy(entry.path(), &target)?;
                fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(())
    };
    made().map_err(|error| failure::file("make the virtual environment", folder, &error))?;
    Ok(bin)
}
