//! What the operator's own backup command tells: lines `place …`, `bytes …`, `check taken|listed|restored` and `seen …`; all others are its log.

use roadstead_model::{BackupCheck, BackupDemand, limits};

/// What it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Where the backup lies.
    pub(crate) place: String,
    /// Its size, where that is known.
    pub(crate) bytes: u64,
    /// How the command says that it checked it.
    pub(crate) check: BackupCheck,
    /// What that saw.
    pub(crate) seen: String,
}

/// Whether a line is one that it tells something by; no longer than such a line may be.
pub(crate) fn counts(line: &str) -> bool {
    let tells = line.trim().split_once(' ').is_some_and(|(key, _)| ["place", "seen", "bytes", "check"].contains(&key));
    tells && line.len() <= 2 * limits::BACKUP_TEXT_BYTES_MAX
}

/// Reads it. The last line of a kind counts.
///
/// # Errors
/// What is wrong with a line.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Told, String> {
    let mut told = Told { place: String::new(), bytes: 0, check: BackupCheck::Taken, seen: String::new() };
    for line in lines {
        let Some((key, value)) = line.trim().split_once(' ') else { continue };
        let value = value.trim();
        match key {
            "place" => told.place = text(value)?,
            "seen" => told.seen = text(value)?,
            "bytes" => told.bytes = value.parse().map_err(|_| format!("`bytes {}` is no number of bytes", shown(value)))?,
            "check" => match value.parse() {
                Ok(BackupDemand::AtLeast(check)) => told.check = check,
                _ => return Err(format!("`check {}` is none of taken, listed and restored", shown(value))),
            },
            _ => {}
        }
    }
    if told.place.is_empty() {
        return Err("it printed no line `place …`, which tells where the backup lies".to_owned());
    }
    Ok(told)
}

fn text(value: &str) -> Result<String, String> {
    if value.len() > limits::BACKUP_TEXT_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(format!("`{}` is too long or has a control character", shown(value)));
    }
    Ok(value.to_owned())
}

fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_lines_are_found_among_its_log() {
        assert!(counts(" check restored") && !counts("checking") && !counts(&format!("place {}", "x".repeat(5000))));
        let told = read(["starting", "place s3://backups/erp/5", "bytes 1234", "check restored", "seen 14 tables", "all done"]).unwrap();
        assert_eq!(told, Told { place: "s3://backups/erp/5".into(), bytes: 1234, check: BackupCheck::Restored, seen: "14 tables".into() });
        assert_eq!(read(["place here"]).unwrap().check, BackupCheck::Taken, "who says nothing of a check made none");
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        assert!(read(["done"]).unwrap_err().contains("place"));
        assert!(read(["place x", "bytes many"]).unwrap_err().contains("bytes many"));
        assert!(read(["place x", "check sworn"]).unwrap_err().contains("restored"));
        assert!(read(["place x", "check none"]).is_err());
        assert!(read([format!("place {}", "x".repeat(2000)).as_str()]).is_err());
    }
}
