//! Programs of the host's operator that run as root, or with secrets: whoever can change one can do what it can.

use roadstead_model::Finding;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether a program can be run, and root alone can change it or put another in its place.
pub(super) fn program_of_root(check: &str, of: &str, program: &Path) -> Finding {
    let path = program.display();
    let hint = format!("it must belong to root alone: chown root: {path} && chmod 755 {path}; and so must the folders above it");
    let real = match fs::canonicalize(program) {
        Ok(real) => real,
        Err(error) => return Finding::failed(check, format!("{of}: the command {path}: {error}"), "correct `command` in agent.toml"),
    };
    match fs::metadata(&real) {
        Ok(metadata) if metadata.is_file() && metadata.mode() & 0o111 != 0 => {}
        _ => return Finding::failed(check, format!("{of}: the command {path} cannot be executed"), format!("chmod 755 {path}")),
    }
    match real.ancestors().find(|part| !only_roots(part)) {
        Some(part) => {
            Finding::failed(check, format!("{of}: others than root can change {}, which runs as the command", part.display()), hint)
        }
        None => Finding::ok(check, format!("{of}: the command {path} can be run")),
    }
}

fn only_roots(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| {
        // In a folder like /tmp nobody replaces what is somebody else's.
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        metadata.uid() == 0 && (metadata.mode() & 0o022 == 0 || sticky)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Verdict;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_command_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elb");
        let look = |path: &Path| program_of_root("traffic", "erp", path);
        assert_eq!(look(&path).verdict, Verdict::Failed);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        for (mode, says) in [(0o644, "cannot be executed"), (0o775, "others than root"), (0o757, "others than root")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let finding = look(&path);
            assert!(finding.verdict == Verdict::Failed && finding.says.contains(says), "{mode:o}: {finding:?}");
        }
        assert_eq!(look(Path::new("/bin/sh")).verdict, Verdict::Ok);
        assert_eq!(look(Path::new("/bin")).verdict, Verdict::Failed);
    }
}
