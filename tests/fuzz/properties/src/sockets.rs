//! The kernel's table of TCP sockets.

use std::fs;

use crate::agent::ports;
use crate::scratch::scratch;

/// Each socket that is read is one line of the table, and is read as the same when it stands alone.
pub fn sockets(bytes: &[u8]) {
    let scratch = scratch();
    let folder = scratch.path().join("proc/net");
    fs::create_dir_all(&folder).unwrap();
    let table = folder.join("tcp");
    fs::write(&table, bytes).unwrap();
    let found = ports::sockets(scratch.path());
    let Ok(text) = std::str::from_utf8(bytes) else { return assert_eq!(found, []) };
    let mut alone = Vec::new();
    for line in text.lines().take(8) {
        fs::write(&table, line).unwrap();
        alone.extend(ports::sockets(scratch.path()));
    }
    assert!(found.starts_with(&alone));
}
