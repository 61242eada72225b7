//! `roadstead key`: keys that sign releases. They are made and used here, and never sent anywhere.

use clap::Subcommand;
use roadstead_bundle::sign::SigningKey;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};
use crate::output::Output;

/// The largest key file that is read.
pub(crate) const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Makes and shows keys that sign releases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead key generate --out release.key --name ci\n  roadstead key show release.key")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a new key and prints what hosts write into release-keys.toml to trust it.
    #[command(after_help = "Example:\n  roadstead key generate --out release.key --name ci > release-keys.toml")]
    Generate {
        /// The file for the private key; it must not exist.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// What people call the key.
        #[arg(long, default_value = "release")]
        name: String,
    },
    /// Prints the public half of a key.
    #[command(after_help = "Example:\n  roadstead key show release.key")]
    Show {
        /// The file of the private key.
        file: PathBuf,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let (key, name) = match &arguments.action {
        Action::Generate { out, name } => {
            if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
                return Err(Failure::usage("a key's name has 1 to 64 letters, digits, '.', '_' and '-'"));
            }
            let key = SigningKey::generate().map_err(|error| Failure::failed("no key was made").because(&error))?;
            write_new(out, &key.reveal())?;
            output.note(&format!("{} is written: keep it where only the builder can read it.\n", out.display()));
            (key, name.as_str())
        }
        Action::Show { file } => (read(file)?, "release"),
    };
    let (public, id) = (key.public().to_string(), key.public().id().to_string());
    output.result(&serde_json::json!({ "name": name, "public": public, "id": id }), || {
        format!("# /etc/roadstead/release-keys.toml on every host\nthreshold = 1\n\n[[key]]\nname = \"{name}\"\npublic = \"{public}\"")
    });
    Ok(())
}

/// Reads a private key.
pub(crate) fn read(file: &Path) -> Result<SigningKey> {
    let size = std::fs::metadata(file).map_err(|error| failure::file("read", file, &error))?.len();
    if size > KEY_FILE_BYTES_MAX {
        return Err(Failure::usage(format!("{} is too large for a key file", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(|error| failure::file("read", file, &error))?;
    SigningKey::parse(&text).map_err(|error| Failure::usage(format!("{} is not used", file.display())).because(&error))
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage(format!("{} is there already and is not replaced", path.display())),
        _ => failure::file("write", path, &error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn generate(out: &Path) -> Result<()> {
        let arguments = Arguments { action: Action::Generate { out: out.to_owned(), name: "ci".to_owned() } };
        run(&arguments, &Output::plain())
    }

    #[test]
    fn a_key_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.key");
        generate(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let public = read(&path).unwrap().public();
        assert!(generate(&path).unwrap_err().summary.contains("is there already"));
        assert_eq!(read(&path).unwrap().public(), public);
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        std::fs::write(&path, "hunter2").unwrap();
        let failure = read(&path).unwrap_err();
        assert!(!format!("{failure}").contains("hunter2"));
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(read(&path).unwrap_err().summary.contains("too large"));
    }
}
