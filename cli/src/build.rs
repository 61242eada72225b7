//! From a commit to a signed bundle: checkout, lock, packages, Django, assembly.
//!
//! Each step is one file and takes what the earlier ones made. What depends only on the lock is cached, so that a build of
//! changed code alone takes a second or two. Whatever is made twice from the same commit is made the same.

pub(crate) mod assemble;
pub(crate) mod bytecode;
pub(crate) mod cache;
pub(crate) mod checkout;
pub(crate) mod django;
mod folder_digest;
pub(crate) mod git;
pub(crate) mod lock;
mod migrations;
pub(crate) mod own_code;
pub(crate) mod packages;
pub(crate) mod patterns;
pub(crate) mod python;
pub(crate) mod run;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod toolbox;
pub(crate) mod venv;

pub(crate) use folder_digest::digest_of_folder;
