//! Looking at a project that has no `roadstead.toml` yet, and writing one that a person would have written.
//!
//! Nothing of the project is run: files are read as text. What cannot be seen that way is left out, with a comment where it matters.

mod dependencies;
mod files;
mod look;
mod settings;
mod write;

pub(crate) use look::look;
pub(crate) use write::file;

#[cfg(test)]
mod tests;
