//! A fleet for any application: a controller and hosts with nginx, each in the environment of one app. No database server.

use super::erp::run;
use super::packages::{lock, target};
use super::{Desk, Profile, Result, UP, enroll, packages, start_controller};
use crate::lab::{Execution, Host, HostOptions, Lab, LabError, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The fleet, up, with nothing deployed yet. An environment is named like its app, and so is the host that belongs to it.
#[derive(Debug)]
pub struct PlainFleet {
    /// The admin's place.
    pub desk: Desk,
    /// Runs the controller.
    pub controller: Host,
    /// One for each app, in the order of the apps.
    pub hosts: Vec<Host>,
    /// The private key that releases are signed with.
    pub key: String,
    /// The `release-keys.toml` that believes it.
    trust: String,
    agent: PathBuf,
    /// The lab that all of them stand in; last, so that it goes last.
    pub lab: Lab,
}

impl PlainFleet {
    /// Boots, installs, enrolls: a host for each app.
    pub fn new(name: &str, apps: &[&str]) -> Result<Self> {
        Self::with(name, apps, &HostOptions::default())
    }

    /// The same, with hosts of the apps that have disks or folders of their own.
    pub fn with(name: &str, apps: &[&str], options: &HostOptions) -> Result<Self> {
        let packages = packages(Profile::Dev)?;
        let lab = Lab::new(name)?;
        let mut wanted = vec![("control".to_owned(), HostOptions::default())];
        wanted.extend(apps.iter().map(|name| ((*name).to_owned(), options.clone())));
        let mut hosts = lab.hosts_with(wanted)?;
        let controller = hosts.remove(0);
        let desk = start_controller(&lab, Profile::Dev, &controller, &packages, "")?;
        let key = desk.folder().join("release.key").display().to_string();
        let trust = desk.roadstead(&["key", "generate", "--name", "lab", "--out", &key])?;
        let fleet = Self { desk, controller, hosts, key, trust, agent: packages.agent, lab };
        for (app, host) in apps.iter().zip(&fleet.hosts) {
            fleet.apply(app, "1s")?;
            fleet.add(app, host)?;
        }
        fleet.wait_for_all()?;
        Ok(fleet)
    }

    /// Writes the environment of an app, with the time that its releases are watched for.
    pub fn apply(&self, app: &str, bake: &str) -> Result<()> {
        self.policy(app, &format!("[strategy]\nbake = \"{bake}\"\n"))
    }

    /// Makes the environment of an app what the policy says.
    pub fn policy(&self, app: &str, policy: &str) -> Result<()> {
        let text = format!("[environment]\nname = \"{app}\"\napp = \"{app}\"\nhosts = \"app={app}\"\n\n{policy}");
        self.desk.roadstead(&["apply", "-f", &self.desk.write(&format!("{app}.toml"), &text)?]).map(drop)
    }

    /// Makes a plain host one of an app's.
    pub fn add(&self, app: &str, host: &Host) -> Result<()> {
        self.add_as(app, host, &[])
    }

    /// The same, with further labels.
    pub fn add_as(&self, app: &str, host: &Host, labels: &[&str]) -> Result<()> {
        self.add_to(app, app, host, labels)
    }

    /// The same, in an environment of another name.
    pub fn add_to(&self, environment: &str, app: &str, host: &Host, labels: &[&str]) -> Result<()> {
        host.start_nginx(&site(app))?;
        self.enroll_in(environment, host, &[&[format!("app={app}").as_str()], labels].concat())
    }

    /// Makes a plain host one of an environment's, with these labels alone: no app runs there before its labels fit.
    pub fn enroll_in(&self, environment: &str, host: &Host, labels: &[&str]) -> Result<()> {
        host.install_debs(&[&self.agent])?;
        host.write("/etc/roadstead/release-keys.toml", &self.trust)?;
        let mut words = vec!["host", "token", "--env", environment];
        labels.iter().for_each(|label| words.extend(["--label", label]));
        let token = self.desk.roadstead(&words)?;
        enroll(host, self.desk.controller(), &token, &[])?.checked(host.name(), "roadstead-agent enroll")?;
        host.systemctl(&["start", "roadstead-agent"])?;
        host.wait_for_unit("roadstead-agent", "active", UP)
    }

    /// Waits until the controller hears every host.
    pub fn wait_for_all(&self) -> Result<()> {
        wait_until("every host to be connected", UP, || self.connected() == Some(self.hosts.len()))
    }

    /// How many hosts the controller hears; nothing when it does not answer.
    pub fn connected(&self) -> Option<usize> {
        self.desk.connected().ok()
    }

    /// Commits everything in a folder as a version, builds and pushes it; what `build` said.
    pub fn release(&self, folder: &Path, version: &str) -> Result<Execution> {
        let git = |words: &[&str]| {
            let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"];
            run(Command::new("git").arg("-C").arg(folder).args(identity).args(words)).map(drop)
        };
        if !folder.join(".git").exists() {
            git(&["init", "-q"])?;
        }
        git(&["add", "--all"])?;
        git(&["commit", "-q", "-m", version])?;
        git(&["tag", &format!("v{version}")])?;
        let (place, bundle) = (folder.display().to_string(), folder.with_extension(format!("{version}.bundle")).display().to_string());
        let words = ["build", "--key", &self.key, "--out", &bundle, &place];
        let built = self.desk.roadstead_outside(&words)?;
        if built.code != Some(0) {
            return Err(built.checked("desk", &format!("roadstead {}", words.join(" "))).err().unwrap_or(LabError::Thread));
        }
        self.desk.roadstead(&["push", &bundle])?;
        Ok(built)
    }

    /// What a host answers at a path to a request for `localhost`, from outside: status and body.
    pub fn ask(&self, host: &Host, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", host.ip());
        let said = self.desk.run(&["curl", "-s", "-m", "10", "-H", "Host: localhost", "-w", "\n%{http_code}", &url])?;
        let (body, status) = said.stdout.rsplit_once('\n').unwrap_or(("", &said.stdout));
        Ok((status.trim().parse().unwrap_or(0), body.to_owned()))
    }

    /// The version that serves on a host, by the link that names it.
    pub fn serving(&self, app: &str, host: &Host) -> Result<String> {
        let link = host.sh(&format!("basename $(readlink /srv/roadstead/{app}/current)"))?;
        Ok(link.trim().rsplit_once('-').map_or_else(|| link.trim().to_owned(), |(version, _)| version.to_owned()))
    }
}

/// nginx in front of an app's socket.
fn site(app: &str) -> String {
    format!(
        "server {{\n  listen 80;\n  location /static/ {{ alias /srv/roadstead/{app}/static/; }}\n  location / {{\n    \
         proxy_pass http://unix:/run/roadstead/{app}/web.sock;\n    proxy_set_header Host $host;\n  }}\n}}\n"
    )
}

/// A virtual environment of this machine with these packages, made once for all runs: the tools that begin projects.
pub fn tools(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let _one_at_a_time = lock(name)?;
    let (folder, ready) = (target().join(name), target().join(name).join("ready"));
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "-q"]).args(packages))?;
        std::fs::write(&ready, "").map_err(LabError::io("write", &ready))?;
    }
    Ok(folder.join("bin/python"))
}
