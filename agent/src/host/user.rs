//! System users that apps run as.

use nix::unistd::{Gid, Uid, User};
use std::path::Path;

/// A user and its primary group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: String,
    /// The user's number.
    pub(crate) uid: Uid,
    /// The group's number.
    pub(crate) gid: Gid,
}

/// The user of this name; `None` when there is none.
pub(crate) fn find(name: &str) -> std::io::Result<Option<Account>> {
    Ok(User::from_name(name)?.map(|user| Account { name: user.name, uid: user.uid, gid: user.gid }))
}

/// The description of a system user for `systemd-sysusers`: no login, no password, this home.
pub(crate) fn description(name: &str, home: &Path) -> String {
    format!("# Written by roadstead-agent.\nu {name} - \"Application {name}\" {} /usr/sbin/nologin\n", home.display())
}

/// Makes a folder (and those above it) that belongs to someone, with a mode; repairs both when it is there.
pub(crate) fn own_folder(path: &Path, owner: Option<&Account>, group: Option<&Account>, mode: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    own(path, owner, group)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Gives a file or folder to someone; root where `None`. Without root's rights everything stays its maker's.
pub(crate) fn own(path: &Path, owner: Option<&Account>, group: Option<&Account>) -> std::io::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let uid = owner.map_or(Uid::from_raw(0), |account| account.uid);
    let gid = group.map_or(Gid::from_raw(0), |account| account.gid);
    std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(find("root").unwrap().unwrap().uid, Uid::from_raw(0));
        assert_eq!(find("no-such-user-here").unwrap(), None);
    }
}
