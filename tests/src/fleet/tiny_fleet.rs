//! The smallest fleet: a controller and one host, `tiny`, that runs an app of one file. For faults that need no more than that.

use super::{PlainFleet, Profile, Result, Tiny, Twist, each};
use crate::lab::{Execution, Host, HostOptions, LabError};

/// The fleet, up, and the repository of its app.
#[derive(Debug)]
pub struct TinyFleet {
    /// The machines.
    pub fleet: PlainFleet,
    /// The app.
    pub tiny: Tiny,
}

impl TinyFleet {
    /// Boots, installs, enrolls; nothing is deployed yet.
    pub fn new(name: &str, options: &HostOptions) -> Result<Self> {
        let fleet = PlainFleet::with(name, &["tiny"], options)?;
        let tiny = Tiny::signed(Profile::Dev, &fleet.key)?;
        Ok(Self { fleet, tiny })
    }

    /// The same, with further hosts of the app.
    pub fn with_more(name: &str, more: &[&str]) -> Result<Self> {
        let mut this = Self::new(name, &HostOptions::default())?;
        let wanted = more.iter().map(|name| ((*name).to_owned(), HostOptions::default())).collect();
        let more = this.fleet.lab.hosts_with(wanted)?;
        each(&more, |host| this.fleet.add("tiny", host))?;
        this.fleet.hosts.extend(more);
        this.fleet.wait_for_all()?;
        Ok(this)
    }

    /// The host that runs the app, or the first that does.
    pub fn host(&self) -> &Host {
        &self.fleet.hosts[0]
    }

    /// Builds a version and hands it to the controller.
    pub fn push(&self, version: &str, twist: &Twist<'_>) -> Result<()> {
        let bundle = self.tiny.build(version, twist)?;
        self.fleet.desk.roadstead(&["push", &bundle]).map(drop)
    }

    /// Deploys a version that was pushed; how that ended.
    pub fn try_deploy(&self, version: &str) -> Result<Execution> {
        self.fleet.desk.try_roadstead(&["deploy", "tiny", version])
    }

    /// Deploys a version that was pushed, which has to succeed; what was said.
    pub fn deploy(&self, version: &str) -> Result<String> {
        self.try_deploy(version)?.checked("desk", &format!("deploy {version}"))
    }

    /// Status and release of the answer at the app's public socket.
    pub fn answer(&self) -> Result<String> {
        let socket = "/run/roadstead/tiny/web.sock";
        let format = "%{http_code} %header{x-release}";
        Ok(self
            .host()
            .try_exec(&["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", format, "--unix-socket", socket, "http://app/"])?
            .stdout)
    }

    /// The most memory that the agent has had since it started, in KiB.
    pub fn agent_peak_kib(&self) -> Result<u64> {
        let agent = self.host().main_process("roadstead-agent")?;
        let path = format!("/proc/{}/status", agent.pid);
        let status = std::fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak.ok_or_else(|| LabError::NoProcess { host: self.host().name().to_owned(), unit: "roadstead-agent".to_owned() })
    }
}
