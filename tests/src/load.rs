//! A constant load of HTTP requests that counts what a user would notice: every status, every failure, every delay, and
//! which release answered.
//!
//! Clients run in a closed loop (the next request begins when the last has its whole answer) in a thread each, from a
//! place in the lab's network. A connection that the server closed between two requests is opened again once, as every
//! HTTP client does, and is counted apart; anything else that is no 2xx is a failure.

mod http;
mod report;

pub use report::{Failure, Report, Seen};

use crate::lab::{LabError, Network, wait_until};
use crate::load::http::{Answer, Client};
use crate::load::report::Tally;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What to ask for, how often, and when to stop by itself.
#[derive(Debug, Clone)]
pub struct Load {
    address: String,
    path: String,
    host: String,
    clients: usize,
    keep_alive: bool,
    pause: Duration,
    timeout: Duration,
    requests_max: u64,
    duration_max: Duration,
}

impl Load {
    /// Four keep-alive clients that get `/` from an address such as `10.77.0.11:80`.
    pub fn on(address: impl Into<String>) -> Self {
        let address = address.into();
        Self {
            host: address.clone(),
            address,
            path: "/".into(),
            clients: 4,
            keep_alive: true,
            pause: Duration::ZERO,
            timeout: Duration::from_secs(10),
            requests_max: 5_000_000,
            duration_max: Duration::from_secs(600),
        }
    }

    /// Another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Another `Host:` header than the address.
    #[must_use]
    pub fn host_header(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Another number of clients.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// A new connection for each request.
    #[must_use]
    pub fn without_keep_alive(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// A rest of each client after each answer: a load that leaves the machine room to work.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// When a request counts as failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Stops by itself after so long.
    #[must_use]
    pub fn for_at_most(mut self, duration: Duration) -> Self {
        self.duration_max = duration;
        self
    }

    /// Stops by itself after so many requests.
    #[must_use]
    pub fn at_most(mut self, requests: u64) -> Self {
        self.requests_max = requests;
        self
    }

    /// Begins to ask, from a place in the lab's network.
    pub fn start(self, from: &Network) -> RunningLoad {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            tallies: (0..self.clients).map(|_| Mutex::default()).collect(),
            load: self,
        });
        let threads = (0..shared.load.clients)
            .map(|number| {
                let shared = Arc::clone(&shared);
                from.spawn(move || shared.run(number))
            })
            .collect();
        RunningLoad { shared, threads }
    }
}

#[derive(Debug)]
struct Shared {
    load: Load,
    began: Instant,
    stop: AtomicBool,
    requests: AtomicU64,
    tallies: Vec<Mutex<Tally>>,
}

impl Shared {
    /// One client, until it is told to stop or a bound is reached.
    fn run(&self, number: usize) {
        let Some(tally) = self.tallies.get(number) else { return };
        let load = &self.load;
        let mut client = Client::new(&load.address, &load.host, &load.path, load.keep_alive, load.timeout);
        while !self.stop.load(Ordering::Relaxed) && self.began.elapsed() < load.duration_max {
            if self.requests.fetch_add(1, Ordering::Relaxed) >= load.requests_max {
                break;
            }
            let (at, asked) = (self.began.elapsed(), Instant::now());
            tally.lock().unwrap_or_else(PoisonError::into_inner).begin(at);
            let answer = client.get();
            let took = asked.elapsed();
            let failed = !matches!(&answer, Ok(Answer { status: 200..=299, .. }));
            tally.lock().unwrap_or_else(PoisonError::into_inner).count(at, took, answer);
            // a refused connection costs nothing: without a rest it would count a short outage as a million failures
            let rest = if failed { load.pause.max(Duration::from_millis(10)) } else { load.pause };
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
        }
    }

    fn report(&self) -> Report {
        let tallies = self.tallies.iter().map(|tally| tally.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Report::of(tallies, self.began.elapsed())
    }
}

/// A load that runs; dropping it stops it.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<(), LabError>>>,
}

impl RunningLoad {
    /// What was counted so far.
    pub fn report(&self) -> Report {
        self.shared.report()
    }

    /// How long it has run: the clock of the report's times.
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// When each request that is under way was asked, on the clock of [`elapsed`](Self::elapsed).
    pub fn under_way(&self) -> Vec<Duration> {
        let tallies = self.shared.tallies.iter();
        tallies.filter_map(|tally| tally.lock().unwrap_or_else(PoisonError::into_inner).under_way()).collect()
    }

    /// Waits until every request that was asked before a time on the clock of [`elapsed`](Self::elapsed) has ended.
    pub fn wait_for_those_before(&self, time: Duration, deadline: Duration) -> Result<(), LabError> {
        let what = format!("the requests under way to {}{} to end", self.shared.load.address, self.shared.load.path);
        wait_until(&what, deadline, || self.under_way().iter().all(|asked| *asked > time))
    }

    /// Waits until so many more requests have been answered with 2xx, so that what follows happens under load.
    pub fn wait_for_more(&self, requests: u64, deadline: Duration) -> Result<(), LabError> {
        let wanted = self.report().good() + requests;
        wait_until(&format!("{requests} more good answers from {}", self.shared.load.address), deadline, || self.report().good() >= wanted)
    }

    /// Waits until a release answers.
    pub fn wait_for_release(&self, release: &str, deadline: Duration) -> Result<(), LabError> {
        wait_until(&format!("an answer of release {release}"), deadline, || self.report().releases.contains_key(release))
    }

    /// Waits until it has stopped by itself, at its bound of requests or of time.
    pub fn finish(mut self) -> Result<Report, LabError> {
        self.join()
    }

    /// Begins no more requests: several loads come to their end at the same time.
    pub fn wind_down(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Stops after the requests that are under way, and tells what was counted.
    pub fn stop(mut self) -> Result<Report, LabError> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<Report, LabError> {
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or(Err(LabError::Thread))?;
        }
        Ok(self.report())
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
