//! What may run here of what may run only once, for everybody who starts services or looks whether they run. The worker writes it.

use roadstead_model::{AppName, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Monotonic;
use crate::lease::Hold;

/// The holds of all apps that need a lease.
#[derive(Debug)]
pub struct Leases {
    clock: Monotonic,
    apps: Mutex<BTreeMap<AppName, Hold>>,
}

impl Leases {
    /// None needs one yet.
    pub fn new(clock: Monotonic) -> Self {
        Self { clock, apps: Mutex::default() }
    }

    /// What may run now of what an app may run only once; `None` where that needs no lease.
    pub fn of(&self, app: &AppName) -> Option<BTreeSet<ServiceName>> {
        match self.lock().get(app)? {
            Hold::Free(_) => None,
            hold @ Hold::Until(..) => Some(hold.at(self.clock.elapsed())),
        }
    }

    /// From now on this holds.
    pub fn set(&self, app: &AppName, hold: Hold) {
        self.lock().insert(app.clone(), hold);
    }

    /// Nothing but these services may run from now on.
    pub fn keep(&self, app: &AppName, services: &BTreeSet<ServiceName>) {
        if let Some(Hold::Until(known, _)) = self.lock().get_mut(app) {
            known.retain(|service| services.contains(service));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AppName, Hold>> {
        // Nothing panics while it holds the lock.
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
