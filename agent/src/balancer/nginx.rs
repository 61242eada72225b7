//! nginx: shares are lines of an upstream, in a file that its configuration includes. It is written, tested by nginx, and read by a reload.
//!
//! nginx tells nobody how many requests are under way: the connections from this host to a server are counted in their place.

mod connections;
mod file;
mod service;
mod upstream;
mod workers;

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, FailureKind, ServerSeen};
use roadstead_worker::tasks::blocking;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep};

use super::problems::{joined, nobody_left, not_known};
use super::{Balancer, Sight, Weights};
use crate::host::Host;
use crate::settings::NginxSettings;
use file::{OnDisk, UpstreamFile};
pub(crate) use service::PROGRAM;
use service::{OfHost, Service};

/// How long new workers may take to be there after a reload.
const EFFECT_AT_MOST: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A text that nginx does not take is not put in its way again so soon: whoever starts nginx meanwhile would find it there.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The upstream of an app.
#[derive(Debug)]
pub(crate) struct Nginx {
    settings: NginxSettings,
    file: UpstreamFile,
    service: Box<dyn Service>,
    root: PathBuf,
    refused: Mutex<Option<Refused>>,
}

/// A text that nginx did not take.
#[derive(Debug)]
struct Refused {
    text: String,
    at: Instant,
    failure: Failure,
}

impl Nginx {
    /// The host's nginx.
    pub(super) fn of(app: &AppName, settings: NginxSettings, host: Arc<Host>) -> Self {
        let root = host.root.clone();
        Self::with(settings, Box::new(OfHost::new(app.clone(), host)), root)
    }

    fn with(settings: NginxSettings, service: Box<dyn Service>, root: PathBuf) -> Self {
        Self { file: UpstreamFile::at(&settings.file), settings, service, root, refused: Mutex::new(None) }
    }

    async fn on_disk(&self) -> Result<OnDisk, Failure> {
        let file = self.file.clone();
        blocking(move || file.read()).await
    }

    /// Brings the file, and what nginx runs with, to the text that is wanted.
    async fn bring_file(&self, on_disk: OnDisk, wanted: &Weights) -> Result<(), Failure> {
        let text = upstream::render(&self.settings, &upstream::merged(&self.settings, wanted, &upstream::read(&on_disk.text)));
        if on_disk.text == text && on_disk.before.is_none() {
            return self.service.master().await?.map(drop).ok_or_else(not_running);
        }
        self.not_refused_lately(&text).await?;
        let (file, content, before) = (self.file.clone(), text.clone(), on_disk.clone());
        blocking(move || if before.text == content { Ok(()) } else { file.write(&before, &content) }).await?;
        if let Err(failure) = self.service.test().await {
            let (file, back) = (self.file.clone(), on_disk.in_effect().to_owned());
            blocking(move || file.go_back(&back)).await?;
            *self.refused.lock().await = Some(Refused { text, at: Instant::now(), failure: failure.clone() });
            return Err(failure);
        }
        let master = self.service.master().await?;
        if let Some(master) = master {
            self.take_effect(master).await?;
        }
        // Where nothing runs, it is in effect as soon as anything is.
        let file = self.file.clone();
        blocking(move || file.settle()).await?;
        master.map(drop).ok_or_else(not_running)
    }

    async fn not_refused_lately(&self, text: &str) -> Result<(), Failure> {
        match &*self.refused.lock().await {
            Some(refused) if refused.text == text && refused.at.elapsed() < TRY_AGAIN_AFTER => Err(refused.failure.clone()),
            _ => Ok(()),
        }
    }

    /// Reloads nginx, and waits until no worker takes connections with what it read before.
    async fn take_effect(&self, master: u32) -> Result<(), Failure> {
        let before = self.workers(master).await;
        self.service.reload().await?;
        tracing::info!(upstream = self.settings.upstream, "nginx was told to read its configuration again");
        let give_up = Instant::now() + EFFECT_AT_MOST;
        while !workers::have_changed(&before, &self.workers(master).await) {
            if Instant::now() >= give_up {
                let summary = format!(
                    "nginx was reloaded, but {} s later no new workers have taken the place of the old ones",
                    EFFECT_AT_MOST.as_secs()
                );
                return Err(Failure::new(
                    FailureKind::Deadline,
                    summary,
                    "see why on the host: journalctl -u nginx, /var/log/nginx/error.log",
                ));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn workers(&self, master: u32) -> BTreeSet<workers::Process> {
        let root = self.root.clone();
        blocking(move || workers::at_work(&root, master)).await
    }

    /// What nginx runs with, and the connections that there are.
    async fn look(&self, wanted: &Weights, runs: bool, problems: &mut Vec<Failure>) -> Sight {
        let lines = match self.on_disk().await {
            Ok(on_disk) => upstream::read(on_disk.in_effect()),
            Err(failure) => return Sight::failed(failure),
        };
        let known: Vec<_> = lines.into_iter().filter(|(host, _)| wanted.contains_key(host)).collect();
        let counts = connections::count(&self.root, known.iter().map(|(_, line)| line.address.clone()).collect()).await;
        let mut sight = Sight::default();
        for ((host, line), count) in known.into_iter().zip(counts) {
            match count {
                Ok(in_flight) => drop(sight.servers.insert(host, ServerSeen { weight: line.weight, up: runs, in_flight })),
                Err(error) => problems.push(Failure::new(
                    FailureKind::Host,
                    format!("connections to {host} cannot be counted: {} cannot be looked up: {error}", line.address),
                    "does this host's DNS know it? Another address is written under servers of [traffic.APP] in agent.toml",
                )),
            }
        }
        sight
    }
}

/// Whether the agent has written the file; one of somebody else's is refused.
pub(crate) fn is_written(path: &Path) -> Result<bool, Failure> {
    UpstreamFile::at(path).read().map(|on_disk| !on_disk.text.is_empty())
}

fn not_running() -> Failure {
    let summary = "nginx does not run on this host: the shares are written, and count when it is started";
    Failure::new(FailureKind::Unit, summary, "start it: systemctl start nginx, systemctl status nginx")
}

#[async_trait]
impl Balancer for Nginx {
    async fn bring(&self, wanted: &Weights) -> Sight {
        let on_disk = match self.on_disk().await {
            Ok(on_disk) => on_disk,
            Err(failure) => return Sight::failed(failure),
        };
        let unknown = wanted.keys().filter(|host| !self.settings.servers.contains_key(*host));
        let hint = "add it with its address and port under servers of [traffic.APP] in agent.toml";
        let mut problems: Vec<Failure> = unknown.map(|host| not_known(host, "agent.toml names no server for it", hint)).collect();
        let lines = upstream::merged(&self.settings, wanted, &upstream::read(&on_disk.text));
        if !lines.values().any(|line| line.weight.takes()) {
            return Sight::failed(nobody_left("of the servers that agent.toml names none takes any"));
        }
        problems.extend(self.bring_file(on_disk, wanted).await.err());
        let runs = matches!(self.service.master().await, Ok(Some(_)));
        let sight = self.look(wanted, runs, &mut problems).await;
        Sight { problem: sight.problem.clone().or_else(|| joined(problems)), ..sight }
    }
}

#[cfg(test)]
mod tests;
