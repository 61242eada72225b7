//! Drift watch: every so often, and at once after its start, the agent looks whether each app is what was deployed: its trees, its units,
//! its links, what runs. What differs is told in the facts of the host, and nothing is changed: repairing is an order like any other.
//!
//! A look is no hurry. It works in short pieces with long rests between, reads contents only where they may have changed, and leaves alone
//! an app with an order under way or a release that is not confirmed. What may pass by itself is told when it is seen twice in a row.

pub(crate) mod damage;
mod look;
mod memory;
mod pace;
mod running;
mod tree;
mod units;
mod wanted;

use roadstead_model::{AppName, Drift, DriftFinding};
use roadstead_worker::tasks::blocking;
use roadstead_worker::worker::Event;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant, sleep_until};

use crate::facts;
use crate::layout::Layout;
pub(crate) use look::Eyes;
use memory::Memory;

/// How often an app is looked at when nothing is said.
pub(crate) const EVERY: Duration = Duration::from_secs(300);
/// How soon it is looked at again when something is seen for the first time that may pass.
const AGAIN: Duration = Duration::from_secs(15);

/// What the looks found, for whoever tells the facts of the host.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Mutex<BTreeMap<AppName, Drift>>,
    rest: Notify,
}

impl Watch {
    /// What was found of an app; nothing while nobody has looked since its last order.
    pub(crate) fn of(&self, app: &AppName) -> Option<Drift> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// An order begins to change the app: what was found holds no more.
    pub(crate) fn forget(&self, app: &AppName) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    /// Nothing is done for any app: those that nobody has looked at since are looked at.
    pub(crate) fn rest(&self) {
        self.rest.notify_one();
    }

    /// Takes in what was found; whether it is news.
    fn take(&self, app: &AppName, drift: Drift) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(app.clone(), drift.clone()) != Some(drift)
    }
}

/// What was told last of an app, as far as this host remembers: for onlookers.
pub(crate) fn told(layout: &Layout, app: &AppName) -> Option<Drift> {
    Memory::of(layout, app).drift
}

/// Who looks.
#[derive(Debug)]
pub(crate) struct Watcher {
    watch: Arc<Watch>,
    eyes: Eyes,
    every: Duration,
    events: mpsc::Sender<Event>,
    apps: BTreeMap<AppName, Known>,
}

/// What the last look at an app saw.
#[derive(Debug, Default)]
struct Known {
    staying: Vec<DriftFinding>,
    passing: Vec<DriftFinding>,
    /// Something was seen for the first time: when it is looked at again.
    again: Option<Instant>,
}

impl Watcher {
    /// Who looks every so often, and tells the worker when there is news.
    pub(crate) const fn new(watch: Arc<Watch>, eyes: Eyes, every: Duration, events: mpsc::Sender<Event>) -> Self {
        Self { watch, eyes, every, events, apps: BTreeMap::new() }
    }

    /// The loop, until the agent stops.
    pub(crate) async fn run(mut self) {
        let stopping = self.eyes.stopping.clone();
        let mut due = Instant::now();
        loop {
            let next = self.apps.values().filter_map(|known| known.again).chain([due]).min().unwrap_or(due);
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep_until(next) => {}
                () = self.watch.rest.notified() => {}
            }
            let now = Instant::now();
            let all = due <= now;
            if all {
                due = now + spread(self.every);
            }
            let layout = self.eyes.layout.clone();
            let on_disk = blocking(move || facts::apps_on_disk(&layout)).await;
            self.apps.retain(|app, _| on_disk.contains(app));
            let mut looked = false;
            for app in on_disk {
                let again = self.apps.get(&app).and_then(|known| known.again).is_some_and(|at| at <= now);
                if all || again || self.watch.of(&app).is_none() {
                    looked = true;
                    tokio::select! {
                        biased;
                        () = stopping.cancelled() => return,
                        () = self.look(&app, again && !all) => {}
                    }
                }
            }
            if looked {
                // What is only needed for a look is let go of: the next is minutes away.
                self.eyes.host.systemd.rest().await;
                crate::memory::give_back();
            }
        }
    }

    /// Looks at an app; `shortly`, only at what may have passed.
    async fn look(&mut self, app: &AppName, shortly: bool) {
        let known = self.apps.entry(app.clone()).or_default();
        let confirms = known.again.take().is_some();
        let Some(rest) = self.eyes.at_rest(app).await else { return };
        let seen = async {
            let release = self.eyes.release(app, &rest.release).await?;
            let staying = if shortly { None } else { Some(self.eyes.trees(app, &release).await?) };
            Ok::<_, roadstead_model::Failure>((staying, self.eyes.passing(app, &release).await?))
        };
        let (staying, passing) = match seen.await {
            Ok(seen) => seen,
            Err(failure) => return tracing::warn!(%app, %failure, "whether it is as it was deployed could not be seen"),
        };
        // An order came meanwhile: what was seen may be its work.
        if self.eyes.at_rest(app).await.as_ref() != Some(&rest) {
            return;
        }
        let known = self.apps.entry(app.clone()).or_default();
        let before = std::mem::replace(&mut known.passing, passing);
        known.staying = staying.unwrap_or_else(|| std::mem::take(&mut known.staying));
        if !confirms && look::is_news(&before, &known.passing) {
            known.again = Some(Instant::now() + AGAIN.min(self.every));
            return;
        }
        let drift = Drift::of(look::confirmed(&known.staying, &before, &known.passing));
        self.tell(app, drift).await;
    }

    async fn tell(&self, app: &AppName, drift: Drift) {
        let level = drift.is_level();
        if !self.watch.take(app, drift.clone()) {
            return;
        }
        if level {
            tracing::info!(%app, "it is as it was deployed");
        } else {
            tracing::warn!(%app, drift = drift.summary(), "it was changed by somebody else since it was deployed");
        }
        let (layout, of) = (self.eyes.layout.clone(), app.clone());
        let write = move || {
            let mut memory = Memory::of(&layout, &of);
            memory.drift = Some(drift);
            memory.write(&layout, &of);
        };
        blocking(write).await;
        // Without a worker the agent is stopping.
        drop(self.events.send(Event::Changed).await);
    }
}

/// A span that differs a little from time to time and from host to host, so that not all of a fleet look at once.
fn spread(every: Duration) -> Duration {
    let mut byte = [0];
    // Without chance, hosts look when they were started.
    let part = getrandom::fill(&mut byte).map_or(0, |()| u32::from(byte[0]));
    every.mul_f64(0.9 + f64::from(part) / 1275.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use roadstead_model::{Differs, DriftPart};

    #[test]
    fn what_was_found_holds_until_the_next_order() {
        let (watch, app) = (Watch::default(), samples::app());
        assert_eq!(watch.of(&app), None);
        let drift = Drift::of(vec![DriftFinding::new(DriftPart::Tree, Differs::Changed, "x", "")]);
        assert!(watch.take(&app, drift.clone()) && !watch.take(&app, drift.clone()));
        assert_eq!(watch.of(&app), Some(drift));
        watch.forget(&app);
        assert_eq!(watch.of(&app), None);
        assert!(watch.take(&app, Drift::default()), "also that nothing differs is news");
    }

    #[test]
    fn looks_are_spread_a_little() {
        for _ in 0..100 {
            let span = spread(EVERY);
            assert!(span >= EVERY.mul_f64(0.89) && span <= EVERY.mul_f64(1.11), "{span:?}");
        }
    }
}
