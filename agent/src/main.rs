//! The daemon on a host: session, steps, systemd, sandbox, probes; a thin shell around the deployment core.
#![allow(dead_code, reason = "the parts land one by one")]

mod fetch;
mod host;
mod layout;
mod output;
mod settings;
mod state;
mod steps;

fn main() {}
