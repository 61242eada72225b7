//! A fleet: a controller, a host with PostgreSQL and Redis, and hosts that run the ERP behind Debian's nginx, all made
//! from the packages that users install, by the commands that users type.

mod agents;
mod desk;
mod erp;
mod journal;
mod kept_secret;
mod packages;
mod plain;
mod project;
mod rollouts;
mod stopper;
mod strays;
mod tiny;
mod tiny_fleet;

pub use agents::Agents;
pub use desk::Desk;
pub use erp::{Erp, PASSWORD, SITE, run, secrets};
pub use journal::{Journals, Moment};
pub(crate) use packages::target;
pub use packages::{Packages, Profile, packages, repacked};
pub use plain::{PlainFleet, tools};
pub use project::Project;
pub use stopper::Stopper;
pub use strays::strays;
pub use tiny::{Tiny, Twist};
pub use tiny_fleet::TinyFleet;

use crate::lab::{Execution, Host, HostOptions, Lab, LabError, Network, wait_until};
use std::path::PathBuf;
use std::time::Duration;

type Result<T> = std::result::Result<T, LabError>;

/// How long the parts of a fleet may take to come up on a busy machine.
const UP: Duration = Duration::from_secs(90);

/// The fleet, up and enrolled in the environment `staging` of the ERP, with nothing deployed yet.
#[derive(Debug)]
pub struct Fleet {
    /// The admin's place: keys, bundles and the command.
    pub desk: Desk,
    /// Runs the controller.
    pub controller: Host,
    /// Runs PostgreSQL and Redis.
    pub data: Host,
    /// Run the application.
    pub hosts: Vec<Host>,
    /// Further hosts, with nothing on them but the image.
    pub further: Vec<Host>,
    /// The releases that are deployed here.
    pub erp: Erp,
    labels: Vec<String>,
    /// The lab that all of them stand in; last, so that it goes last.
    pub lab: Lab,
}

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// How the packages are built.
    pub profile: Profile,
    /// Hosts that run the application: `web-1`, `web-2`, ...
    pub hosts: usize,
    /// Names of further hosts.
    pub further: Vec<String>,
    /// What each of them has beyond the image.
    pub host: HostOptions,
    /// The `[strategy]` and `[timeouts]` of the environment.
    pub policy: String,
    /// What is added to `controller.toml`.
    pub settings: String,
    /// The label of each host that runs the application; `role=web` where nothing is said.
    pub labels: Vec<String>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            profile: Profile::Dev,
            hosts: 1,
            further: Vec::new(),
            host: HostOptions::default(),
            policy: "[strategy]\nbake = \"1s\"\n".into(),
            settings: String::new(),
            labels: Vec::new(),
        }
    }
}

impl FleetOptions {
    /// So many hosts.
    #[must_use]
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// Further hosts of these names.
    #[must_use]
    pub fn further(mut self, names: &[&str]) -> Self {
        self.further = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Hosts with these labels, parted by commas.
    #[must_use]
    pub fn labels(mut self, labels: &[&str]) -> Self {
        self.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self
    }

    /// Another `[strategy]` and `[timeouts]`.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.policy);
        self
    }

    /// Settings of the controller.
    #[must_use]
    pub fn settings(mut self, settings: &str) -> Self {
        settings.clone_into(&mut self.settings);
        self
    }
}

impl Fleet {
    /// Boots, installs, enrolls. `name` is the lab's.
    pub fn new(name: &str, options: &FleetOptions) -> Result<Self> {
        let packages = packages(options.profile)?;
        let erp = Erp::build(options.profile)?;
        let lab = Lab::new(name)?;
        let mut wanted = vec![("control".to_owned(), HostOptions::default()), ("data".to_owned(), HostOptions::default())];
        wanted.extend((1..=options.hosts).map(|number| (format!("web-{number}"), options.host.clone())));
        wanted.extend(options.further.iter().map(|name| (name.clone(), HostOptions::default())));
        let mut hosts = lab.hosts_with(wanted)?;
        let mut apps = hosts.split_off(2);
        let further = apps.split_off(options.hosts);
        let (Some(data), Some(controller)) = (hosts.pop(), hosts.pop()) else {
            return Err(LabError::NoHost { lab: lab.id(), host: "control".into() });
        };
        let desk = start_controller(&lab, options.profile, &controller, &packages, &options.settings)?;
        let fleet = Self { desk, controller, data, hosts: apps, further, erp, labels: options.labels.clone(), lab };
        fleet.data.start_redis()?;
        fleet.data.start_postgresql("erp", PASSWORD)?;
        fleet.apply(&options.policy)?;
        each(&fleet.hosts, |host| fleet.add(host, &packages.agent))?;
        fleet.wait_for_all()?;
        Ok(fleet)
    }

    /// A place in the network from which to make requests.
    pub fn client(&self) -> Network {
        self.lab.network()
    }

    /// Makes the environment what the policy says.
    pub fn apply(&self, policy: &str) -> Result<()> {
        let text = format!("[environment]\nname = \"staging\"\napp = \"erp\"\nhosts = \"role=web\"\n\n{policy}\n");
        let file = self.desk.write("staging.toml", &text)?;
        self.desk.roadstead(&["apply", "-f", &file]).map(drop)
    }

    /// Makes a plain host one of the fleet's: the agent, the keys that it believes, the app's secrets, nginx.
    pub fn add(&self, host: &Host, agent: &PathBuf) -> Result<()> {
        host.install_debs(&[agent])?;
        host.write("/etc/roadstead/release-keys.toml", &self.erp.trust)?;
        host.write("/etc/roadstead/apps/erp.env", secrets(&self.data.ip()))?;
        host.exec(&["chmod", "600", "/etc/roadstead/apps/erp.env"])?;
        host.start_nginx(SITE)?;
        self.enroll(host)
    }

    /// The app on a host finds its database at another address.
    pub fn database_at(&self, host: &Host, url: &str) -> Result<()> {
        let path = "/etc/roadstead/apps/erp.env";
        let line = |line: &str| if line.starts_with("DATABASE_URL=") { format!("DATABASE_URL={url}\n") } else { format!("{line}\n") };
        host.write(path, host.read(path)?.lines().map(line).collect::<String>())
    }

    /// Gives a host its identity, with a fresh token.
    pub fn enroll(&self, host: &Host) -> Result<()> {
        let number = self.hosts.iter().position(|known| known.name() == host.name());
        let label = number.and_then(|number| self.labels.get(number)).map_or("role=web", String::as_str);
        self.enroll_as(host, label)
    }

    /// As [`enroll`](Self::enroll), with a label of its own.
    pub fn enroll_as(&self, host: &Host, label: &str) -> Result<()> {
        let labels: Vec<&str> = label.split(',').flat_map(|label| ["--label", label]).collect();
        let token = self.desk.roadstead(&[&["host", "token", "--env", "staging"], &labels[..]].concat())?;
        enroll(host, self.desk.controller(), &token, &[])?.checked(host.name(), "roadstead-agent enroll")?;
        host.systemctl(&["start", "roadstead-agent"])?;
        host.wait_for_unit("roadstead-agent", "active", UP)
    }

    /// Waits until the controller hears every host.
    pub fn wait_for_all(&self) -> Result<()> {
        let all = self.hosts.len();
        wait_until("every host to be connected", UP, || self.connected().is_ok_and(|connected| connected == all))
    }

    /// How many hosts the controller hears.
    pub fn connected(&self) -> Result<usize> {
        self.desk.connected()
    }

    /// Hands a bundle to the controller.
    pub fn push(&self, version: &str) -> Result<()> {
        self.desk.roadstead(&["push", &self.erp.bundle(version)]).map(drop)
    }

    /// Pushes a version and deploys it; a rollout that did not succeed is an error with all that was said.
    pub fn deploy(&self, version: &str) -> Result<String> {
        self.push(version)?;
        self.desk.roadstead(&["deploy", "staging", version])
    }

    /// What a host answers at a path of the site, from outside: status and release.
    pub fn ask(&self, host: &Host, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", host.ip());
        let words = ["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code} %header{x-release}", &url];
        let said = self.desk.run(&words)?;
        let (status, release) = said.stdout.trim().split_once(' ').unwrap_or((said.stdout.trim(), ""));
        Ok((status.parse().unwrap_or(0), release.to_owned()))
    }

    /// Which version each host answers with, in the order of the hosts.
    pub fn serving(&self) -> Result<Vec<String>> {
        self.hosts.iter().map(|host| self.ask(host, "/healthz").map(|(_, release)| release)).collect()
    }
}

impl Drop for Fleet {
    /// Whatever was done to it, the app's key has stayed where it belongs. One that failed has said so already.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let strays = kept_secret::strays(self.hosts.iter().chain(&self.further), &self.controller, self.desk.folder());
            assert!(matches!(&strays, Ok(none) if none.is_empty()), "the app's key has left its place: {strays:?}");
        }
    }
}

/// Makes a plain host a controller: installs it, makes its authority, starts it; gives the desk at which its first admin is logged in.
pub fn start_controller(lab: &Lab, profile: Profile, host: &Host, packages: &Packages, settings: &str) -> Result<Desk> {
    let desk = Desk::new(lab.network(), profile, host)?;
    host.install_debs(&[&packages.controller])?;
    host.execute(&["sh", "-c", "cat >>/etc/roadstead/controller.toml"], UP, settings.as_bytes())?.checked(host.name(), "write settings")?;
    let address = desk.controller().to_owned();
    host.exec(&["roadstead-controller", "init", "--admin", "ada", "--address", &address, "--out", "/root/ada.pem"])?;
    host.systemctl(&["start", "roadstead-controller"])?;
    host.wait_for_unit("roadstead-controller", "active", UP)?;
    let credential = desk.write("ada.pem", &host.read("/root/ada.pem")?)?;
    desk.roadstead(&["login", "--controller", &address, "--credential", &credential])?;
    Ok(desk)
}

/// Offers a token on a host, and tells how that ended.
pub fn enroll(host: &Host, controller: &str, token: &str, further: &[&str]) -> Result<Execution> {
    let words = ["roadstead-agent", "enroll", "--controller", controller, "--token-file", "-"];
    host.execute(&[&words[..], further].concat(), UP, token.as_bytes())
}

/// Does the same to several hosts at once.
pub fn each(hosts: &[Host], work: impl Fn(&Host) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = hosts.iter().map(|host| scope.spawn(|| work(host))).collect();
        running.into_iter().try_for_each(|one| one.join().unwrap_or(Err(LabError::Thread)))
    })
}
