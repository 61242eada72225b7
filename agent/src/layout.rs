//! Where everything of an agent lies on its host.

use roadstead_model::AppName;
use std::path::{Path, PathBuf};

/// The paths of a host. All below one root, `/` but in tests.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below a root.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// What the agent keeps: identity, journals, blobs, state of apps.
    pub(crate) fn agent_state(&self) -> PathBuf {
        self.root.join("var/lib/roadstead-agent")
    }

    /// Files that an operator writes.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.root.join("etc/roadstead")
    }

    /// The blob store.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.agent_state().join("blobs")
    }

    /// What the agent remembers of an app.
    pub(crate) fn app_state(&self, app: &AppName) -> PathBuf {
        self.agent_state().join("apps").join(app.as_str())
    }

    /// The folder of an app.
    pub(crate) fn app(&self, app: &AppName) -> PathBuf {
        self.root.join("srv/roadstead").join(app.as_str())
    }

    /// The symbolic link that names the serving release.
    pub(crate) fn current(&self, app: &AppName) -> PathBuf {
        self.app(app).join("current")
    }
}
