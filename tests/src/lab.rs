//! A lab: hosts with a real systemd each, on one switch, made in seconds and gone without a trace.
//!
//! A host is an overlay on one Debian image, booted by `systemd-nspawn` in a network namespace and cgroups of its own.
//! The switch is a namespace with a bridge; the lab's own client stands there as 10.77.0.1. Nothing of the machine's
//! network, services or disks is touched, and several labs can run side by side.

mod boot;
mod cable;
mod cgroup;
mod command;
mod disk;
mod error;
mod host;
mod inotify;
mod network;
mod pair;
mod process;
mod recorder;
mod recording;
mod registry;
mod servers;
mod wait;

pub use cable::{Cable, Fault};
pub use command::Execution;
pub(crate) use command::{run, tail};
pub use error::LabError;
pub use host::Host;
pub use network::Network;
pub use pair::Pair;
pub use process::Process;
pub use recorder::Recorder;
pub use recording::{Recording, Request};
pub use registry::{HostOptions, LabState};
pub(crate) use wait::complain;
pub use wait::wait_until;

use crate::lab::error::Result;
use crate::lab::registry::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a lab and all its hosts share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What is written to the registry whenever it changes.
    state: Mutex<LabState>,
    /// The processes of this process that must be waited for when they die.
    children: Mutex<Vec<Child>>,
    /// The recorded disks of hosts that this process made.
    recorders: Mutex<BTreeMap<String, Recorder>>,
    image: PathBuf,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, LabState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn children(&self) -> MutexGuard<'_, Vec<Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorders(&self) -> MutexGuard<'_, BTreeMap<String, Recorder>> {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one host's record and saves the lab.
    fn change(&self, host: &str, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut state = self.state();
        if let Some(record) = state.hosts.get_mut(host) {
            change(record);
        }
        state.save()
    }
}

/// A switch with hosts on it. Dropping it takes all of it down.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    /// Whether dropping this handle takes the lab down.
    owned: bool,
}

impl Lab {
    /// A new lab with a switch and no hosts. Labs that dead processes left behind are cleared away first.
    pub fn new(name: &str) -> Result<Self> {
        process::require_root()?;
        let image = disk::image()?;
        clean_stale()?;
        let state = registry::create(name)?;
        let lab = Self {
            shared: Arc::new(Shared { state: Mutex::new(state), children: Mutex::default(), recorders: Mutex::default(), image }),
            owned: true,
        };
        inotify::raise()?;
        network::make_switch(&lab.id())?;
        Ok(lab)
    }

    /// Another handle on a lab that there is, by its id. Dropping it leaves the lab alone; `down` takes it away.
    pub fn open(id: &str) -> Result<Self> {
        process::require_root()?;
        let state = registry::load(id)?;
        let shared =
            Shared { state: Mutex::new(state), children: Mutex::default(), recorders: Mutex::default(), image: disk::image_path()? };
        Ok(Self { shared: Arc::new(shared), owned: false })
    }

    /// The name that no other lab on this machine has.
    pub fn id(&self) -> String {
        self.shared.state().id.clone()
    }

    /// Boots a host and waits until its systemd is up.
    pub fn host(&self, name: &str) -> Result<Host> {
        self.host_with(name, HostOptions::default())
    }

    /// Boots a host that has disks or folders of its own.
    pub fn host_with(&self, name: &str, options: HostOptions) -> Result<Host> {
        let mut hosts = self.hosts_with(vec![(name.to_owned(), options)])?;
        hosts.pop().ok_or_else(|| LabError::NoHost { lab: self.id(), host: name.to_owned() })
    }

    /// Boots several hosts at once; they come back in the order of their names.
    pub fn hosts<const N: usize>(&self, names: [&str; N]) -> Result<[Host; N]> {
        let hosts = self.hosts_with(names.iter().map(|name| ((*name).to_owned(), HostOptions::default())).collect())?;
        hosts.try_into().map_err(|_| LabError::NoHost { lab: self.id(), host: names.join(", ") })
    }

    /// Boots any number of hosts at once, each with its own options.
    pub fn hosts_with(&self, wanted: Vec<(String, HostOptions)>) -> Result<Vec<Host>> {
        let mut hosts = Vec::with_capacity(wanted.len());
        for (name, options) in wanted {
            self.shared.state().add(&name, options)?;
            hosts.push(Host::new(Arc::clone(&self.shared), &name));
        }
        std::thread::scope(|scope| {
            let boots: Vec<_> = hosts.iter().map(|host| scope.spawn(|| host.install().and_then(|()| host.boot()))).collect();
            boots.into_iter().try_for_each(|boot| boot.join().unwrap_or(Err(LabError::Thread)))
        })?;
        self.tell_names()?;
        Ok(hosts)
    }

    /// All hosts of the lab, running or not.
    pub fn all(&self) -> Vec<Host> {
        let names: Vec<String> = self.shared.state().hosts.keys().cloned().collect();
        names.iter().map(|name| Host::new(Arc::clone(&self.shared), name)).collect()
    }

    /// A host by its name.
    pub fn get(&self, name: &str) -> Result<Host> {
        let known = self.shared.state().hosts.contains_key(name);
        if known { Ok(Host::new(Arc::clone(&self.shared), name)) } else { Err(LabError::NoHost { lab: self.id(), host: name.to_owned() }) }
    }

    /// The place of a client that is no host: it reaches every host, from 10.77.0.1.
    pub fn network(&self) -> Network {
        Network::of_switch(&self.id())
    }

    /// Leaves the lab running when it is dropped; `roadstead-lab down` takes it away.
    pub fn keep(&self) -> Result<()> {
        let mut state = self.shared.state();
        state.kept = true;
        state.save()
    }

    /// Tells on standard error what Roadstead's units said last on every host.
    pub fn show_last_words(&self) {
        wait::show_last_words(&self.all());
    }

    /// Takes everything down and says what could not be.
    pub fn down(self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&self) -> Result<()> {
        let hosts = self.all();
        std::thread::scope(|scope| {
            let downs: Vec<_> = hosts.iter().map(|host| scope.spawn(|| host.remove())).collect();
            downs.into_iter().try_for_each(|down| down.join().unwrap_or(Err(LabError::Thread)))
        })?;
        let id = self.id();
        network::remove(&network::switch(&id))?;
        registry::forget(&id)?;
        inotify::restore_if_last()
    }

    /// Every host knows every other by name.
    fn tell_names(&self) -> Result<()> {
        let mut lines = String::from("127.0.0.1 localhost\n10.77.0.1 client\n");
        let hosts = self.all();
        for host in &hosts {
            lines.push_str(&format!("{} {}\n", host.ip(), host.name()));
        }
        hosts.iter().try_for_each(|host| host.write("/etc/hosts", &lines))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let state = self.shared.state().clone();
        if !self.owned || !registry::exists(&state.id) || state.kept {
            return;
        }
        if std::thread::panicking() {
            self.show_last_words();
            if std::env::var_os("ROADSTEAD_LAB_KEEP").is_some() && self.keep().is_ok() {
                wait::complain(&format!("lab {} is kept: see `roadstead-lab status`", state.id));
                return;
            }
        }
        if let Err(error) = self.take_down() {
            wait::complain(&format!("lab {} is not all gone: {error}", state.id));
        }
    }
}

/// The ids of all labs on this machine.
pub fn list() -> Result<Vec<LabState>> {
    registry::list()
}

/// Takes down the labs whose process is dead and that nobody asked to keep; returns their ids.
pub fn clean_stale() -> Result<Vec<String>> {
    // one at a time: several tests begin at once and would get into each other's way
    let _guard = registry::lock("stale")?;
    let stale = registry::list()?.into_iter().filter(|state| !state.kept && !state.owner.is_alive());
    stale.map(|state| Lab::open(&state.id).and_then(Lab::down).map(|()| state.id)).collect()
}

/// The folder of the workspace, where packages and scripts are found.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}
