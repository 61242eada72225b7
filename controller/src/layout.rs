//! Where the controller keeps what it keeps.

use std::path::{Path, PathBuf};

/// The folder of state and what lies in it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    state: PathBuf,
}

impl Layout {
    /// The layout of a folder.
    pub(crate) fn new(state: &Path) -> Self {
        Self { state: state.to_path_buf() }
    }

    /// The folder.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The folder of the authority.
    pub(crate) fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// The authority's file.
    pub(crate) fn authority(&self) -> PathBuf {
        self.pki().join("authority.pem")
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.state.join("roadstead.db")
    }

    /// Files of releases.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.state.join("blobs")
    }
}
