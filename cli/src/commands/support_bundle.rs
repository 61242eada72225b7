//! `roadstead support-bundle`: what a developer needs to understand a fleet, in one file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};
use crate::output::{Output, size, table};
use crate::remote::{moment, now_ms};
use crate::support::archive::Archive;
use crate::support::collect::collect;
use crate::support::contents::{File, files};

/// How the file's name ends, since that is what it is.
const ENDING: &str = ".tar.zst";

/// Collects what a developer needs to understand a fleet into one file, without secrets.
///
/// Versions, environments, hosts with their facts, releases, rollouts, history, what `roadstead doctor` finds; of one rollout also what its
/// steps said. No credentials and no tokens are in it, and of variables only names and lengths.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead support-bundle\n  roadstead support-bundle --rollout r-17 --out r-17.tar.zst\n  \
    tar --zstd -xf r-17.tar.zst")]
pub(crate) struct Arguments {
    /// The rollout in question, such as r-17: with all that its steps said.
    #[arg(long)]
    rollout: Option<roadstead_model::RolloutId>,
    /// The file to make; it must not be there yet. By default roadstead-support-SECONDS.tar.zst in this folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Collects, and writes the file.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let at_seconds = now_ms() / 1000;
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("roadstead-support-{at_seconds}{ENDING}")));
    expect_new(&path)?;
    let files = files(&collect(arguments.rollout)?, &moment);
    write(&path, &files, at_seconds)?;
    let bytes = std::fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
    let entries: Vec<_> = files.iter().map(|file| serde_json::json!({ "file": file.name, "bytes": file.content.len() })).collect();
    output.result(&serde_json::json!({ "bundle": path, "bytes": bytes, "files": entries }), || told(&path, bytes, &files));
    Ok(())
}

fn told(path: &Path, bytes: u64, files: &[File]) -> String {
    let rows = files.iter().map(|file| [file.name.clone(), size(file.content.len() as u64)]);
    format!(
        "{}\n\n{} ({}) holds no credentials, no tokens, and of variables only names and lengths.\n\
         Read it before you pass it on: `tar --zstd -xf {}`",
        table(["FILE", "SIZE"], rows),
        path.display(),
        size(bytes),
        path.display()
    )
}

/// Nothing is asked of anybody for a file that cannot be made.
fn expect_new(path: &Path) -> Result<()> {
    if !path.to_string_lossy().ends_with(ENDING) {
        return Err(Failure::usage(format!("{} does not end in {ENDING}, which is what it would be", path.display())));
    }
    if path.symlink_metadata().is_ok() {
        return Err(there(path));
    }
    Ok(())
}

fn there(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already, and is not written over", path.display())).hint("say another name with --out")
}

/// Makes the file, for its owner alone; one that cannot be written whole is taken away again.
fn write(path: &Path, files: &[File], at_seconds: u64) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there(path),
        _ => failure::file("make", path, &error),
    })?;
    let filled = fill(file, files, at_seconds);
    filled.map_err(|error| {
        drop(std::fs::remove_file(path));
        failure::file("write", path, &error)
    })
}

fn fill(file: std::fs::File, files: &[File], at_seconds: u64) -> io::Result<()> {
    let mut archive = Archive::new(io::BufWriter::new(file), at_seconds)?;
    for File { name, content } in files {
        archive.add(name, content)?;
    }
    let mut file = archive.finish()?;
    file.flush()?;
    file.get_ref().sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::archive::tests::read;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_is_its_owners_alone_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.zst");
        let files = [File { name: "README.txt".to_owned(), content: b"hello\n".to_vec() }];
        expect_new(&path).unwrap();
        write(&path, &files, 0).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(read(&before), [("README.txt".to_owned(), b"hello\n".to_vec())].into());
        for refused in [expect_new(&path), write(&path, &files, 0)] {
            let text = refused.unwrap_err().to_string().replace(&folder.path().display().to_string(), "FOLDER");
            insta::assert_snapshot!("there_already", text);
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(expect_new(Path::new("a.tar.gz")).unwrap_err().kind, failure::Kind::Usage);
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.zst");
        let bad = [File { name: "n".repeat(300), content: Vec::new() }];
        assert!(write(&path, &bad, 0).is_err() && !path.exists());
    }

    #[test]
    fn it_tells_what_is_inside() {
        let files = [
            File { name: "README.txt".to_owned(), content: vec![0; 1500] },
            File { name: "r-17/rollout.json".to_owned(), content: vec![0; 10] },
        ];
        insta::assert_snapshot!(told(Path::new("r-17.tar.zst"), 700, &files));
    }
}
