//! The switch and the cables: a namespace with a bridge, and one pair of interfaces for each host.

use crate::lab::command::run;
use crate::lab::error::{LabError, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// The address of a port of the switch: hosts are 11 and up, the lab's client is 1.
pub(crate) fn address(number: u8) -> String {
    format!("10.77.0.{}", number.saturating_add(10))
}

/// The namespace of a lab's switch.
pub(crate) fn switch(lab: &str) -> String {
    format!("rs-{lab}")
}

/// The namespace of a host.
pub(crate) fn of_host(lab: &str, host: &str) -> String {
    format!("rs-{lab}.{host}")
}

/// Makes the switch and puts the lab's client on it.
pub(crate) fn make_switch(lab: &str) -> Result<()> {
    let switch = switch(lab);
    run(&["ip", "netns", "add", &switch])?;
    let ip = |words: &[&str]| run(&[&["ip", "-n", &switch], words].concat()).map(drop);
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "br0", "type", "bridge"])?;
    ip(&["address", "add", "10.77.0.1/24", "dev", "br0"])?;
    ip(&["link", "set", "br0", "up"])
}

/// Makes a host's namespace and plugs it into the switch.
pub(crate) fn plug_in(lab: &str, host: &str, number: u8) -> Result<()> {
    let (switch, own, port) = (switch(lab), of_host(lab, host), port(number));
    run(&["ip", "netns", "add", &own])?;
    run(&["ip", "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &own])?;
    run(&["ip", "-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
    run(&["ip", "-n", &own, "link", "set", "lo", "up"])?;
    run(&["ip", "-n", &own, "address", "add", &format!("{}/24", address(number)), "dev", "eth0"])?;
    run(&["ip", "-n", &own, "link", "set", "eth0", "up"]).map(drop)
}

/// Pulls a host's cable or puts it back.
pub(crate) fn set_link(lab: &str, number: u8, up: bool) -> Result<()> {
    run(&["ip", "-n", &switch(lab), "link", "set", &port(number), if up { "up" } else { "down" }]).map(drop)
}

/// Makes one host's packets for another go nowhere, silently, while everybody else is reached.
pub(crate) fn lose_neighbour(namespace: &str, address: &str) -> Result<()> {
    // a hardware address that no port has: the switch delivers such a frame to nobody who would take it
    let nobody = "02:00:00:00:00:01";
    run(&["ip", "-n", namespace, "neighbour", "replace", address, "lladdr", nobody, "nud", "permanent", "dev", "eth0"]).map(drop)
}

/// Undoes `lose_neighbour`.
pub(crate) fn find_neighbour(namespace: &str, address: &str) -> Result<()> {
    run(&["ip", "-n", namespace, "neighbour", "delete", address, "dev", "eth0"]).map(drop)
}

/// Removes a namespace and with it the interfaces in it; one that is gone already is no error.
pub(crate) fn remove(namespace: &str) -> Result<()> {
    if file(namespace).exists() { run(&["ip", "netns", "delete", namespace]).map(drop) } else { Ok(()) }
}

fn port(number: u8) -> String {
    format!("port{number}")
}

fn file(namespace: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace)
}

/// A place in the lab's network from which this process can make connections.
#[derive(Debug, Clone)]
pub struct Network {
    namespace: String,
}

impl Network {
    pub(crate) fn of_switch(lab: &str) -> Self {
        Self { namespace: switch(lab) }
    }

    pub(crate) fn of_host(lab: &str, host: &str) -> Self {
        Self { namespace: of_host(lab, host) }
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Runs a piece of code at that place, in a thread of its own, and waits for it. Only the network is the place's: files
    /// and processes stay this machine's.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| scope.spawn(|| self.move_in().map(|()| work())).join().unwrap_or(Err(LabError::Thread)))
    }

    /// Begins a thread at that place.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<Result<T>> {
        let place = self.clone();
        std::thread::spawn(move || place.move_in().map(|()| work()))
    }

    /// Moves the calling thread, which must end rather than go on elsewhere.
    fn move_in(&self) -> Result<()> {
        let path = file(&self.namespace);
        let namespace = File::open(&path).map_err(LabError::io("open", path))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|source| LabError::System { what: "enter a host's network", source })
    }
}
