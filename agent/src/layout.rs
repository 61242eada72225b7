//! Where everything of an agent lies on its host: every path of the agent is made here and nowhere else.

use roadstead_model::{AppName, ReleaseId, ServiceName};
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

    /// The keys that releases must be signed with.
    pub(crate) fn release_keys(&self) -> PathBuf {
        self.configuration().join("release-keys.toml")
    }

    /// Variables that the host's operator sets for an app, secrets among them.
    pub(crate) fn host_variables(&self, app: &AppName) -> PathBuf {
        self.configuration().join("apps").join(format!("{app}.env"))
    }

    /// Unit files, linked into systemd.
    pub(crate) fn units(&self) -> PathBuf {
        self.configuration().join("units")
    }

    /// What makes the app's folders below `/run` at boot, before the agent runs.
    pub(crate) fn boot_files(&self, app: &AppName) -> PathBuf {
        self.root.join("etc/tmpfiles.d").join(format!("roadstead-{app}.conf"))
    }

    /// The blob store.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.agent_state().join("blobs")
    }

    /// The journals of all apps, a folder each.
    pub(crate) fn journals(&self) -> PathBuf {
        self.agent_state().join("journal")
    }

    /// What the agent remembers of all apps, a folder each.
    pub(crate) fn app_states(&self) -> PathBuf {
        self.agent_state().join("apps")
    }

    /// What the agent remembers of an app.
    pub(crate) fn app_state(&self, app: &AppName) -> PathBuf {
        self.app_states().join(app.as_str())
    }

    /// Marks of bad releases, an empty file each.
    pub(crate) fn bad_marks(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("bad")
    }

    /// The mark of a bad release.
    pub(crate) fn bad_mark(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.bad_marks(app).join(release.as_str())
    }

    /// What was seen of the app beside what was deployed.
    pub(crate) fn drift(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("drift.json")
    }

    /// Which checks of the serving release passed before the migrations of the one that comes were first applied.
    pub(crate) fn checks_before(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("checks-before.json")
    }

    /// Manifests as they came, with their signatures; not verified.
    pub(crate) fn received(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.app_state(app).join("received").join(format!("{release}.json"))
    }

    /// Verified manifests.
    pub(crate) fn manifests(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("manifests")
    }

    /// The verified manifest of a release: the bytes whose digest names it.
    pub(crate) fn manifest(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.manifests(app).join(format!("{release}.json"))
    }

    /// Environment files of releases.
    pub(crate) fn environment_files(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("env")
    }

    /// The names of variables that a release has from the host's own file.
    pub(crate) fn own_names(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.environment_files(app).join(format!("{release}.own"))
    }

    /// Where secrets of releases lie.
    pub(crate) fn secret_files(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("secrets")
    }

    /// The secrets of a release, for systemd to read.
    pub(crate) fn secret_file(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.secret_files(app).join(format!("{release}.env"))
    }

    /// What was issued for a step of an app's migrations, so that it can be ended after a crash.
    pub(crate) fn issued(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("issued.json")
    }

    /// Credentials of the steps of migrations, while these run: in memory alone, a folder for each app.
    pub(crate) fn credentials(&self) -> PathBuf {
        // No app has such a name.
        self.root.join("run/roadstead/.credentials")
    }

    /// The host's logins at providers of secrets, so that they outlast the agent: in memory alone.
    pub(crate) fn logins(&self) -> PathBuf {
        // No app has such a name.
        self.root.join("run/roadstead/.logins")
    }

    /// The credentials of an app's migrations, for systemd to read.
    pub(crate) fn credentials_file(&self, app: &AppName) -> PathBuf {
        self.credentials().join(app.as_str()).join("env")
    }

    /// What of these credentials no output may show.
    pub(crate) fn credentials_hidden(&self, app: &AppName) -> PathBuf {
        self.credentials().join(app.as_str()).join("hidden.json")
    }

    /// The environment file of a release.
    pub(crate) fn environment_file(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.environment_files(app).join(format!("{release}.env"))
    }

    /// Variables of one service alone, read after those of the release.
    pub(crate) fn service_environment_file(&self, app: &AppName, release: &ReleaseId, service: &ServiceName) -> PathBuf {
        self.environment_files(app).join(format!("{release}.{service}.env"))
    }

    /// That the app's user was made by the agent, and its name.
    pub(crate) fn user_record(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("user")
    }

    /// The description of the app's user for `systemd-sysusers`.
    pub(crate) fn user_description(&self, app: &AppName) -> PathBuf {
        self.app_state(app).join("user.conf")
    }

    /// The folders of all apps.
    pub(crate) fn apps(&self) -> PathBuf {
        self.root.join("srv/roadstead")
    }

    /// The folder of an app.
    pub(crate) fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    /// The symbolic link that names the serving release.
    pub(crate) fn current(&self, app: &AppName) -> PathBuf {
        self.app(app).join("current")
    }

    /// Release trees.
    pub(crate) fn releases(&self, app: &AppName) -> PathBuf {
        self.app(app).join("releases")
    }

    /// The tree of a complete release.
    pub(crate) fn release(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.releases(app).join(release.as_str())
    }

    /// Virtual environments.
    pub(crate) fn venvs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("venvs")
    }

    /// Static files of the serving release and the one before.
    pub(crate) fn statics(&self, app: &AppName) -> PathBuf {
        self.app(app).join("static")
    }

    /// Collected static files, a folder per release.
    pub(crate) fn collected(&self, app: &AppName) -> PathBuf {
        self.app(app).join("collected")
    }

    /// Collected static files of one release: what its `STATIC_ROOT` is.
    pub(crate) fn collected_of(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.collected(app).join(release.as_str())
    }

    /// Files of the host that releases see in their trees, a folder per release.
    pub(crate) fn placed(&self, app: &AppName) -> PathBuf {
        self.app(app).join("placed")
    }

    /// Files of the host that one release sees in its tree.
    pub(crate) fn placed_of(&self, app: &AppName, release: &ReleaseId) -> PathBuf {
        self.placed(app).join(release.as_str())
    }

    /// Where the host's operator keeps files that releases of an app ask for.
    pub(crate) fn host_files(&self, app: &AppName) -> PathBuf {
        self.configuration().join("apps").join(app.as_str())
    }

    /// Files that live across releases.
    pub(crate) fn shared(&self, app: &AppName) -> PathBuf {
        self.app(app).join("shared")
    }

    /// The home of the app's user: schedules, caches.
    pub(crate) fn home(&self, app: &AppName) -> PathBuf {
        self.root.join("var/lib/roadstead").join(app.as_str())
    }

    /// The sockets of an app.
    pub(crate) fn sockets(&self, app: &AppName) -> PathBuf {
        self.root.join("run/roadstead").join(app.as_str())
    }

    /// The sockets of a service's instances.
    pub(crate) fn service_sockets(&self, app: &AppName, service: &ServiceName) -> PathBuf {
        self.sockets(app).join(service.as_str())
    }

    /// The socket of one instance.
    pub(crate) fn instance_socket(&self, app: &AppName, service: &ServiceName, release: &ReleaseId) -> PathBuf {
        self.service_sockets(app, service).join(format!("{release}.sock"))
    }

    /// The socket of one that stands in for an instance while that restarts.
    pub(crate) fn stand_in_socket(&self, app: &AppName, service: &ServiceName, release: &ReleaseId) -> PathBuf {
        self.service_sockets(app, service).join(format!("{release}.in.sock"))
    }

    /// The address that a proxy connects to: a symbolic link to the serving instance's socket.
    pub(crate) fn public_socket(&self, app: &AppName, service: &ServiceName) -> PathBuf {
        self.sockets(app).join(format!("{service}.sock"))
    }
}
