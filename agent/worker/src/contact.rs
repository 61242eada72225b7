//! When the controller was heard last: the one thing that the link tells the worker without an event.

use roadstead_model::Millis;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Monotonic;

/// Heartbeats go out this often until the controller says otherwise.
pub const HEARTBEAT_DEFAULT: Millis = Millis::from_secs(15);
const HEARTBEAT_MIN: Millis = Millis(50);
const HEARTBEAT_MAX: Millis = Millis::from_secs(600);

/// When the controller was heard last, in time since the agent started.
#[derive(Debug)]
pub struct Contact {
    clock: Monotonic,
    heard: AtomicU64,
    heartbeat: AtomicU64,
}

impl Contact {
    /// Counts from now.
    pub fn new(clock: Monotonic) -> Self {
        Self { clock, heard: AtomicU64::new(0), heartbeat: AtomicU64::new(HEARTBEAT_DEFAULT.0) }
    }

    /// Time since the agent started.
    pub const fn clock(&self) -> Monotonic {
        self.clock
    }

    /// The controller was heard just now.
    pub fn hear(&self) {
        self.heard.store(self.clock.elapsed().0, Ordering::Relaxed);
    }

    /// When it was heard last; the agent's start when never.
    pub fn heard(&self) -> Millis {
        Millis(self.heard.load(Ordering::Relaxed))
    }

    /// The controller said how often it wants heartbeats.
    pub fn set_heartbeat(&self, every: Millis) {
        let every = if every.0 == 0 { HEARTBEAT_DEFAULT } else { every.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX) };
        self.heartbeat.store(every.0, Ordering::Relaxed);
    }

    /// How often heartbeats go out.
    pub fn heartbeat(&self) -> Millis {
        Millis(self.heartbeat.load(Ordering::Relaxed))
    }
}
