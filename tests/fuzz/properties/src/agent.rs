//! Parsers of the agent. A program exports nothing, so its files are compiled here once more.

#![allow(dead_code, reason = "only what reads outside bytes is called")]

#[path = "../../../../agent/src/balancer/command/show.rs"]
pub(crate) mod command_show;
#[path = "../../../../agent/src/host/environment_file.rs"]
pub(crate) mod environment_file;
#[path = "../../../../agent/src/balancer/haproxy/servers.rs"]
pub(crate) mod haproxy_servers;
#[path = "../../../../agent/src/host/ports.rs"]
pub(crate) mod ports;
#[path = "../../../../agent/src/host/quote.rs"]
pub(crate) mod quote;
#[path = "../../../../agent/src/fetch/receive.rs"]
pub(crate) mod receive;
#[path = "../../../../agent/src/fetch/shelf.rs"]
pub(crate) mod shelf;

/// As in the agent's `fetch`.
const BASE_BYTES_MAX: u64 = 4 * 1024 * 1024;
