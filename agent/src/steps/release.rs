//! A release as it stands on this host after its preparation: what every later step works with.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::spec::{Listen, RelativePath, Service, ServiceKind};
use roadstead_model::{AppName, Digest, Failure, FailureKind, ReleaseId, ReleaseRef, ServiceName, limits};
use roadstead_worker::files::read_bounded;
use roadstead_worker::leases::Leases;
use roadstead_worker::state::States;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::probe::Address;
use crate::host::unit_file::{socket_name, trial_name, unit_name};
use crate::layout::Layout;

/// A verified release and where its parts are.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// Its id.
    pub(crate) id: ReleaseId,
    /// The manifest that was verified on this host.
    pub(crate) manifest: Manifest,
    /// Services that only chosen hosts run, and this one does; nothing where that is not known.
    listed: Option<BTreeSet<ServiceName>>,
    /// Who knows what may run here of what runs only once, at each moment; absent where nobody asks.
    leases: Option<Arc<Leases>>,
}

/// How a service takes part in a cutover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A web server on a unix socket: traffic moves by a link.
    WebUnix,
    /// A web server on a TCP socket that systemd holds.
    WebTcp(SocketAddr),
    /// Anything without traffic of which two may run for a while.
    Worker,
    /// Anything of which never two run.
    Single,
    /// Units of the team's own.
    Own,
}

impl Role {
    /// Whether users are answered by it, as far as anyone knows: what a team's own units do is theirs to know.
    pub(crate) const fn has_traffic(self) -> bool {
        matches!(self, Self::WebUnix | Self::WebTcp(_) | Self::Own)
    }
}

impl Release {
    /// The release of this id, which names its configuration, too, without services that only chosen hosts run.
    pub(crate) fn new(id: ReleaseId, manifest: Manifest) -> Self {
        Self { id, manifest, listed: None, leases: None }
    }

    /// The release of this id, as its preparation left it.
    pub(crate) fn load(layout: &Layout, app: &AppName, id: &ReleaseId, listed: Option<&[ServiceName]>) -> Result<Self, Failure> {
        let path = layout.manifest(app, id);
        let hint = "deploy the release again: the agent then fetches and verifies it anew";
        let bytes = read_bounded(&path, limits::MANIFEST_BYTES_MAX).map_err(|error| {
            Failure::new(FailureKind::Host, format!("{id} is not prepared: {}", roadstead_worker::failure::chain(&error)), hint)
        })?;
        let damaged = |why: String| Failure::new(FailureKind::Host, format!("{} is damaged: {why}", path.display()), hint);
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if ReleaseId::of(&manifest.version, &Digest::of(&bytes)) != id.bare() || manifest.app != *app {
            return Err(damaged("it is of another release".to_owned()));
        }
        Ok(Self { id: id.clone(), manifest, listed: listed.map(|listed| listed.iter().cloned().collect()), leases: None })
    }

    /// As [`Self::load`], with the services of chosen hosts that this one is remembered to run.
    pub(crate) fn remembered(layout: &Layout, states: &States, app: &AppName, id: &ReleaseId) -> Result<Self, Failure> {
        let memory = states.read(app)?;
        Self::load(layout, app, id, memory.singletons.get(id).map(Vec::as_slice))
    }

    /// As [`Self::load`], for a release that an order names by its digest too.
    pub(crate) fn load_exactly(
        layout: &Layout,
        app: &AppName,
        release: &ReleaseRef,
        listed: Option<&[ServiceName]>,
    ) -> Result<Self, Failure> {
        let loaded = Self::load(layout, app, &release.id, listed)?;
        let found = Digest::of(&loaded.manifest.encode());
        if found == release.manifest {
            return Ok(loaded);
        }
        let summary = format!("the prepared {} has the digest {}, the order names {}", release.id, found.short(), release.manifest.short());
        Err(Failure::new(FailureKind::Untrusted, summary, "prepare the release again"))
    }

    /// The release, with only those services that run once for which this host has a lease, where they need one.
    pub(crate) fn under(self, leases: &Arc<Leases>) -> Self {
        Self { leases: Some(Arc::clone(leases)), ..self }
    }

    /// The release, with all services that this host may come to run.
    pub(crate) fn whole(self) -> Self {
        Self { leases: None, ..self }
    }

    /// Whether a service is started with the machine: one that needs a lease is not, since another host may have it by then.
    pub(crate) fn starts_at_boot(&self, service: &Service) -> bool {
        !service.kind.is_singleton() || self.allowed().is_none()
    }

    /// What may run now of what runs only once; `None` where that needs no lease.
    fn allowed(&self) -> Option<BTreeSet<ServiceName>> {
        self.leases.as_ref()?.of(self.app())
    }

    /// Services that run on other hosts: this one was not prepared to run them, or was to and is not any more, or has no lease for them now.
    /// None where nothing is known of that: what runs goes on.
    pub(crate) fn elsewhere(&self) -> Vec<(&ServiceName, &Service)> {
        if self.listed.is_none() {
            return Vec::new();
        }
        let here: BTreeSet<&ServiceName> = self.services().map(|(name, _)| name).collect();
        self.manifest.spec.services.iter().filter(|(name, _)| !here.contains(name)).collect()
    }

    /// The app.
    pub(crate) const fn app(&self) -> &AppName {
        &self.manifest.app
    }

    /// Services that run on this host.
    ///
    /// A service that only chosen hosts run (a single one, or one with a selector) runs here when the preparation's order listed it.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceName, &Service)> {
        let allowed = self.allowed();
        self.manifest.spec.services.iter().filter(move |(name, service)| {
            let everywhere = !service.kind.is_singleton() && service.hosts.is_everything();
            let may_run = || !service.kind.is_singleton() || allowed.as_ref().is_none_or(|allowed| allowed.contains(*name));
            everywhere || (self.listed.as_ref().is_some_and(|listed| listed.contains(*name)) && may_run())
        })
    }

    /// Services that run on this host and listen, with where they are asked in public.
    pub(crate) fn listening(&self, layout: &Layout) -> impl Iterator<Item = (&ServiceName, &Service, Address)> {
        self.services().filter_map(|(name, service)| Some((name, service, self.public_address(layout, name, service)?)))
    }

    /// Where a service is asked in public.
    pub(crate) fn public_address(&self, layout: &Layout, name: &ServiceName, service: &Service) -> Option<Address> {
        Some(match service.kind.listen()? {
            Listen::Unix => Address::Unix(layout.public_socket(self.app(), name)),
            Listen::Tcp { address, port } => Address::Tcp(SocketAddr::new(*address, *port)),
        })
    }

    /// The unit of a service's instance.
    pub(crate) fn unit(&self, name: &ServiceName) -> String {
        unit_name(self.app(), name, &self.id)
    }

    /// The unit of an instance that is only tried.
    pub(crate) fn trial(&self, name: &ServiceName) -> String {
        trial_name(self.app(), name, &self.id)
    }

    /// The socket unit of a service.
    pub(crate) fn socket(&self, name: &ServiceName) -> String {
        socket_name(self.app(), name)
    }

    /// The release's tree.
    pub(crate) fn tree(&self, layout: &Layout) -> PathBuf {
        layout.release(self.app(), &self.id)
    }

    /// The app's root in the release's tree.
    pub(crate) fn root(&self, layout: &Layout) -> PathBuf {
        below(&self.tree(layout), &self.manifest.spec.root)
    }

    /// The folder name of its virtual environment: content, Python and architecture.
    pub(crate) fn venv_name(&self) -> String {
        let packages = &self.manifest.packages;
        let content = packages.installed.as_ref().or(packages.wheels.as_ref()).map_or(packages.lock, |tree| tree.root);
        format!("{}-py{}-{}", content.short(), packages.python, std::env::consts::ARCH)
    }

    /// Its virtual environment.
    pub(crate) fn venv(&self, layout: &Layout) -> PathBuf {
        layout.venvs(self.app()).join(self.venv_name())
    }

    /// The programs of its virtual environment.
    pub(crate) fn bin(&self, layout: &Layout) -> PathBuf {
        self.venv(layout).join("bin")
    }

    /// Its environment file.
    pub(crate) fn environment_file(&self, layout: &Layout) -> PathBuf {
        layout.environment_file(self.app(), &self.id)
    }

    /// The file of its secrets.
    pub(crate) fn secret_file(&self, layout: &Layout) -> PathBuf {
        layout.secret_file(self.app(), &self.id)
    }

    /// The file that says where those were found.
    pub(crate) fn secret_places(&self, layout: &Layout) -> PathBuf {
        layout.secret_files(self.app()).join(format!("{}.json", self.id))
    }

    /// The files that systemd reads for its processes, later wins: what the host's operator set stands in the last.
    pub(crate) fn environment_files(&self, layout: &Layout) -> Vec<PathBuf> {
        let secrets = Some(self.secret_file(layout)).filter(|path| path.exists());
        secrets.into_iter().chain([self.environment_file(layout)]).collect()
    }

    /// Folders that its processes may write, beside sockets.
    pub(crate) fn writable(&self, layout: &Layout) -> Vec<PathBuf> {
        vec![layout.shared(self.app()), layout.home(self.app())]
    }
}

/// How a service takes part in a cutover.
pub(crate) const fn role(service: &Service) -> Role {
    match &service.kind {
        ServiceKind::Units { .. } => Role::Own,
        kind => match kind.listen() {
            Some(Listen::Unix) => Role::WebUnix,
            Some(Listen::Tcp { address, port }) => Role::WebTcp(SocketAddr::new(*address, *port)),
            None if kind.never_overlaps() => Role::Single,
            None => Role::Worker,
        },
    }
}

/// A relative path below a folder.
pub(crate) fn below(folder: &Path, path: &RelativePath) -> PathBuf {
    if path.is_root() { folder.to_path_buf() } else { folder.join(path.as_str()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    #[test]
    fn a_single_service_runs_only_where_it_was_listed() {
        let mut release = samples::release("1.0");
        let names = |release: &Release| release.services().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let elsewhere = |release: &Release| release.elsewhere().into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        assert_eq!((names(&release), elsewhere(&release)), (vec!["web".into(), "worker".into()], Vec::<String>::new()), "nothing is known");
        release.listed = Some(BTreeSet::new());
        assert_eq!((names(&release), elsewhere(&release)), (vec!["web".into(), "worker".into()], vec!["beat".to_owned()]));
        release.listed = Some([samples::name("beat")].into());
        assert_eq!(names(&release), ["beat", "web", "worker"]);
        assert!(elsewhere(&release).is_empty());
    }

    #[test]
    fn a_manifest_that_was_swapped_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let (one, two) = (samples::manifest("1.0"), samples::manifest("2.0"));
        std::fs::create_dir_all(layout.manifests(&samples::app())).unwrap();
        std::fs::write(layout.manifest(&samples::app(), &one.release_id()), two.encode()).unwrap();
        std::fs::write(layout.manifest(&samples::app(), &two.release_id()), two.encode()).unwrap();
        assert!(Release::load(&layout, &samples::app(), &one.release_id(), None).unwrap_err().summary.contains("another release"));
        assert_eq!(Release::load(&layout, &samples::app(), &two.release_id(), None).unwrap().manifest, two);
        let wrong = ReleaseRef { id: two.release_id(), manifest: Digest::of(b"x") };
        assert_eq!(Release::load_exactly(&layout, &samples::app(), &wrong, None).unwrap_err().kind, FailureKind::Untrusted);
    }
}
