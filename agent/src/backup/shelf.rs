//! Where backups lie: a folder for each app, in it two files for each backup, the backup and its evidence. One without evidence was not
//! finished and counts for nothing.
//!
//! ```text
//! FOLDER/APP/NAME.dump|.sqlite[.age]   what is kept
//! FOLDER/APP/NAME.facts                what the database held, table by table
//! FOLDER/APP/NAME.json                 its evidence
//! FOLDER/.work/APP/take/               where the app's user makes one
//! FOLDER/.work/APP/check/              what is looked at, and where it is restored
//! ```

use roadstead_model::{AppName, Backup, DigestHasher, Failure, FailureKind, limits};
use roadstead_worker::files::{create_private_folder, read_bounded, sync_folder, write_atomically};
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::host::links;
use crate::host::user::{Account, own};
use crate::steps::util::{io_failure, on_disk};

/// What a script tells of a database; that of one with ten thousand tables is no larger, and the agent has little memory.
pub(crate) const FACTS_BYTES_MAX: u64 = 9 * 1024 * 1024;
pub(crate) const EVIDENCE_BYTES_MAX: u64 = 16 * 1024;

/// The backups of one app on this host.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    folder: PathBuf,
    work: PathBuf,
}

impl Shelf {
    /// The shelf of an app below a folder.
    pub(crate) fn of(folder: &Path, app: &AppName) -> Self {
        Self { folder: folder.join(app.as_str()), work: folder.join(".work").join(app.as_str()) }
    }

    /// Where the app's user makes a backup.
    pub(crate) fn take(&self) -> PathBuf {
        self.work.join("take")
    }

    /// What a backup that is made consists of.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.take().join("backup")
    }

    /// What was seen of the database meanwhile.
    pub(crate) fn taken(&self) -> PathBuf {
        self.take().join("taken.json")
    }

    /// Where a backup is restored.
    pub(crate) fn place(&self) -> PathBuf {
        self.work.join("check")
    }

    /// What was seen of the backup.
    pub(crate) fn checked(&self) -> PathBuf {
        self.place().join("checked.json")
    }

    /// A backup that is not finished.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.work.join("backup")
    }

    /// The same, encrypted.
    pub(crate) fn encrypted(&self) -> PathBuf {
        self.work.join("backup.age")
    }

    /// The keys that it is encrypted to.
    pub(crate) fn recipients(&self) -> PathBuf {
        self.work.join("recipients")
    }

    /// Where a finished backup lies.
    pub(crate) fn finished(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ending}"))
    }

    /// What the database held when a backup was made.
    pub(crate) fn facts(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.facts"))
    }

    /// What a restore has to know, as its script reads it.
    pub(crate) fn order(&self) -> PathBuf {
        self.work.join("order.json")
    }

    /// The evidence of one backup.
    pub(crate) fn find(&self, name: &str) -> Option<Backup> {
        read_evidence(&self.evidence(name))
    }

    /// Where the file of a backup is: it lies beside its evidence, wherever the folder was when it was made.
    pub(crate) fn kept(&self, backup: &Backup) -> Option<PathBuf> {
        let kept = Path::new(&backup.place).file_name().map(|name| self.folder.join(name))?;
        (self.name_of(&kept).as_ref() == Some(&backup.name)).then_some(kept)
    }

    fn evidence(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// Makes the folders, and gives those in which others work to them.
    pub(crate) fn prepare(&self, app: &Account, checker: &Account) -> Result<(), Failure> {
        create_private_folder(&self.folder).map_err(|error| on_disk(&error))?;
        for (folder, owner) in [(self.take(), app), (self.place(), checker)] {
            create_private_folder(&folder).map_err(|error| on_disk(&error))?;
            own(&folder, Some(owner), Some(owner)).map_err(|e| io_failure("give away", &folder, &e))?;
        }
        Ok(())
    }

    /// What a script wrote, though its user may have put anything there.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<T, Failure> {
        let file = open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(FACTS_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| io_failure("read", path, &e))?;
        if bytes.len() as u64 > FACTS_BYTES_MAX {
            return Err(senseless(path, &format!("it is larger than {FACTS_BYTES_MAX} bytes")));
        }
        serde_json::from_slice(&bytes).map_err(|error| senseless(path, &error.to_string()))
    }

    /// Takes a backup, and what was seen of the database, out of the hands of the app's user. First the folder: from then on nobody but root
    /// can put anything else under its names.
    pub(crate) fn take_over(&self) -> Result<(), Failure> {
        let (from, to) = (self.fresh(), self.unfinished());
        take_back(&self.take())?;
        let file = open_regular(&from)?;
        let doing = |doing: &'static str| move |error| io_failure(doing, &from.clone(), &error);
        if nix::unistd::Uid::effective().is_root() {
            std::os::unix::fs::fchown(&file, Some(0), Some(0)).map_err(doing.clone()("take over"))?;
        }
        // The one that looks at it may be let in by a bind of its own; nobody comes by its path.
        file.set_permissions(fs::Permissions::from_mode(0o444)).map_err(doing.clone()("protect"))?;
        file.sync_all().map_err(doing("sync"))?;
        let taken = open_regular(&self.taken())?;
        taken.set_permissions(fs::Permissions::from_mode(0o444)).map_err(|e| io_failure("protect", &self.taken(), &e))?;
        fs::rename(self.fresh(), &to).map_err(|e| io_failure("take over", &to, &e))
    }

    /// Those that this host has made: what becomes of the others is not its business.
    pub(crate) fn own(&self) -> Vec<Backup> {
        let mut all = self.all();
        all.retain(|backup| !self.is_adopted(backup));
        all
    }

    /// Whether another host made it.
    pub(crate) fn is_adopted(&self, backup: &Backup) -> bool {
        self.adopted(&backup.name).exists()
    }

    /// There where the evidence of a backup is another host's.
    fn adopted(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.adopted"))
    }

    /// All finished backups.
    pub(crate) fn all(&self) -> Vec<Backup> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        files.filter_map(|path| read_evidence(&path)).collect()
    }

    /// Puts a backup on the shelf: first what is kept, then its evidence.
    pub(crate) fn put(&self, from: &Path, backup: &Backup) -> Result<(), Failure> {
        self.keep(from, backup)?;
        self.record(backup)
    }

    /// Puts the file of a backup where it lies.
    pub(crate) fn keep(&self, from: &Path, backup: &Backup) -> Result<(), Failure> {
        let to = &self.kept(backup).ok_or_else(|| senseless(Path::new(&backup.place), "it is not called as backups are"))?;
        let file = open_regular(from)?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(|e| io_failure("protect", from, &e))?;
        file.sync_all().map_err(|e| io_failure("sync", from, &e))?;
        fs::rename(from, to).map_err(|e| io_failure("keep", to, &e))
    }

    /// Writes what is known of a backup: what the database held, then its evidence.
    pub(crate) fn record(&self, backup: &Backup) -> Result<(), Failure> {
        let facts = self.facts(&backup.name);
        if let Ok(taken) = read_bounded(&self.taken(), FACTS_BYTES_MAX) {
            write_atomically(&facts, &taken, 0o600).map_err(|error| on_disk(&error))?;
        }
        sync_folder(&self.folder).map_err(|error| on_disk(&error))?;
        self.note(backup)
    }

    /// Writes the evidence of a backup.
    pub(crate) fn note(&self, backup: &Backup) -> Result<(), Failure> {
        let path = self.evidence(&backup.name);
        let text = serde_json::to_vec_pretty(backup).map_err(|error| senseless(&path, &error.to_string()))?;
        write_atomically(&path, &text, 0o600).map_err(|error| on_disk(&error))
    }

    /// Removes a backup: its evidence first, so that what is left counts for nothing.
    pub(crate) fn remove(&self, backup: &Backup) -> Result<(), Failure> {
        let path = self.evidence(&backup.name);
        fs::remove_file(&path).map_err(|e| io_failure("remove", &path, &e))?;
        // What an operator's command made is theirs to remove.
        for file in self.kept(backup).into_iter().chain([self.facts(&backup.name)]) {
            links::remove(&file).map_err(|error| io_failure("remove", &file, &error))?;
        }
        Ok(())
    }

    /// Takes over what is known of a backup that another host made.
    pub(crate) fn adopt(&self, backup: &Backup, facts: &[u8]) -> Result<(), Failure> {
        create_private_folder(&self.folder).map_err(|error| on_disk(&error))?;
        // Before the evidence: what is not known to be another host's could be removed as this one's.
        write_atomically(&self.adopted(&backup.name), b"", 0o600).map_err(|error| on_disk(&error))?;
        write_atomically(&self.facts(&backup.name), facts, 0o600).map_err(|error| on_disk(&error))?;
        self.note(backup)
    }

    /// Removes files of ours that no evidence speaks of: a crash came between the two. How many those were. What is named otherwise is
    /// somebody else's, and evidence that cannot be read is evidence all the same.
    pub(crate) fn sweep(&self) -> usize {
        let Ok(entries) = fs::read_dir(&self.folder) else { return 0 };
        let stray = |path: &PathBuf| self.name_of(path).is_some_and(|name| !self.evidence(&name).exists());
        entries.flatten().map(|entry| entry.path()).filter(stray).filter(|path| fs::remove_file(path).is_ok()).count()
    }

    /// The name of the backup that a file is, if it is called as ours are: `APP-r-ROLLOUT-SECONDS` and an ending.
    pub(crate) fn name_of(&self, path: &Path) -> Option<String> {
        let (name, ending) = path.file_name()?.to_str()?.split_once('.')?;
        let app = self.folder.file_name()?.to_str()?;
        let (rollout, seconds) = name.strip_prefix(app)?.strip_prefix("-r-")?.split_once('-')?;
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let ours =
            number(rollout) && number(seconds) && ["dump", "dump.age", "tar", "tar.age", "sqlite", "sqlite.age", "facts"].contains(&ending);
        ours.then(|| name.to_owned())
    }

    /// Takes what a check told out of the hands of whoever made it.
    pub(crate) fn take_check_over(&self) -> Result<(), Failure> {
        take_back(&self.place())
    }

    /// Clears away what is not finished: what is in clear, what was restored.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_failure("clear", &self.work, &error)),
            _ => Ok(()),
        }
    }
}

/// A folder that was given away is root's again.
fn take_back(folder: &Path) -> Result<(), Failure> {
    own(folder, None, None).map_err(|e| io_failure("take back", folder, &e))
}

/// The size and the BLAKE3 digest of a file.
pub(crate) fn weigh(path: &Path) -> Result<(u64, String), Failure> {
    let doing = |error: std::io::Error| io_failure("read", path, &error);
    let mut file = open_regular(path)?;
    let mut hasher = DigestHasher::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0_u64;
    loop {
        match file.read(&mut buffer).map_err(doing)? {
            0 => return Ok((bytes, hasher.finish().to_string())),
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn read_evidence(path: &Path) -> Option<Backup> {
    evidence_of(path.file_stem()?.to_str()?, &read_bounded(path, EVIDENCE_BYTES_MAX).ok()?)
}

/// The evidence of a backup of this name, as it is written.
pub(crate) fn evidence_of(name: &str, bytes: &[u8]) -> Option<Backup> {
    let backup: Backup = serde_json::from_slice(bytes).ok()?;
    (backup.name == name && name.len() <= limits::BACKUP_TEXT_BYTES_MAX).then_some(backup)
}

/// A plain file, and no link to another one.
fn open_regular(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path);
    let file = file.map_err(|e| io_failure("open", path, &e))?;
    let found = file.metadata().map_err(|e| io_failure("look at", path, &e))?;
    if found.is_file() && found.nlink() == 1 { Ok(file) } else { Err(senseless(path, "it is no plain file of its own")) }
}

fn senseless(path: &Path, why: &str) -> Failure {
    let hint = "see the output of the step; nothing was migrated";
    Failure::new(FailureKind::Host, format!("{} cannot be used: {why}", path.display()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::retention::sample;
    use roadstead_model::BackupCheck;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(root.path(), &AppName::parse("erp").unwrap());
        for folder in [&shelf.folder, &shelf.take(), &shelf.place()] {
            fs::create_dir_all(folder).unwrap();
        }
        (root, shelf)
    }

    #[test]
    fn what_has_no_evidence_counts_for_nothing() {
        let (_root, shelf) = shelf();
        let mut backup = sample("erp-r-1-5", 5, BackupCheck::Restored);
        backup.place = shelf.finished("erp-r-1-5", "dump").display().to_string();
        fs::write(shelf.unfinished(), "rows").unwrap();
        assert!(shelf.all().is_empty());
        shelf.put(&shelf.unfinished(), &backup).unwrap();
        assert_eq!(shelf.all(), [backup.clone()]);
        for (name, ending) in
            [("erp-r-9-7", "dump.age"), ("erp-r-8-7", "dump"), ("erp", "dump"), ("blog-r-1-5", "dump"), ("erp-r-x-5", "dump")]
        {
            fs::write(shelf.finished(name, ending), "rows").unwrap();
        }
        fs::write(shelf.evidence("erp-r-8-7"), "of a newer agent").unwrap();
        assert_eq!(shelf.sweep(), 1, "a crash came before the evidence of one; the others are somebody's");
        assert_eq!(fs::metadata(&backup.place).unwrap().mode() & 0o777, 0o600);
        fs::write(shelf.evidence("erp-r-2-5"), fs::read(shelf.evidence("erp-r-1-5")).unwrap()).unwrap();
        fs::write(shelf.evidence("erp-r-3-5"), "{").unwrap();
        assert_eq!(shelf.all().len(), 1, "evidence is that of the backup that it names");
        shelf.remove(&backup).unwrap();
        assert!(shelf.all().is_empty() && !Path::new(&backup.place).exists());
    }

    #[test]
    fn what_another_host_made_is_not_ours_to_remove() {
        let (_root, shelf) = shelf();
        let (ours, theirs) = (sample("erp-r-1-5", 5, BackupCheck::Restored), sample("erp-r-2-5", 5, BackupCheck::Restored));
        shelf.note(&ours).unwrap();
        shelf.adopt(&theirs, b"{}").unwrap();
        assert_eq!((shelf.all().len(), shelf.own()), (2, vec![ours]));
        assert_eq!(shelf.find("erp-r-2-5"), Some(theirs));
    }

    #[test]
    fn a_link_in_the_place_of_a_backup_is_refused() {
        let (root, shelf) = shelf();
        let secret = root.path().join("secret");
        fs::write(&secret, "{}").unwrap();
        std::os::unix::fs::symlink(&secret, shelf.fresh()).unwrap();
        assert!(shelf.take_over().unwrap_err().summary.contains("open"));
        fs::remove_file(shelf.fresh()).unwrap();
        fs::hard_link(&secret, shelf.fresh()).unwrap();
        assert!(shelf.take_over().unwrap_err().summary.contains("no plain file"));
        std::os::unix::fs::symlink(&secret, shelf.taken()).unwrap();
        assert!(shelf.read::<serde_json::Value>(&shelf.taken()).is_err());
    }

    #[test]
    fn what_a_command_made_is_not_removed_with_its_evidence() {
        let (root, shelf) = shelf();
        let mut backup = sample("erp-r1", 5, BackupCheck::Taken);
        let elsewhere = root.path().join("snapshot");
        fs::write(&elsewhere, "theirs").unwrap();
        backup.place = elsewhere.display().to_string();
        shelf.note(&backup).unwrap();
        shelf.remove(&backup).unwrap();
        assert!(elsewhere.exists());
    }
}
