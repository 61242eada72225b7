//! Answers of Vault, which hold secrets.

#![allow(dead_code, unreachable_pub, reason = "a program exports nothing, so its files are compiled here once more")]

#[path = "../../../../agent/secrets/src/fault.rs"]
mod fault;
#[path = "../../../../agent/secrets/src/value.rs"]
mod value;
mod vault;

/// What stands in the seeds where a secret would.
const CANARY: &str = "canary";

/// An answer is read or refused in words of ours. Nothing that can be shown of either holds a value of it.
pub fn vault_answer(bytes: &[u8]) {
    for shown in vault::shown(bytes) {
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.chars().count() <= 8192 && !shown.contains('\n'), "{shown}");
    }
}
