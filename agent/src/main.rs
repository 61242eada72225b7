//! The daemon on a host: session, steps, systemd, sandbox, probes; a thin shell around the deployment core.
#![allow(dead_code, reason = "the parts land one by one")]

mod app;
mod clock;
mod contact;
mod facts;
mod failure;
mod fetch;
mod files;
mod hands;
mod host;
mod journal;
mod layout;
mod link;
mod logging;
mod notify;
mod output;
mod runner;
mod settings;
mod state;
mod steps;
mod tasks;
mod worker;

fn main() {}
