//! What balancers say of their servers.

use crate::agent::{command_show, haproxy_servers};

/// Between the two answers of HAProxy in one input.
const BETWEEN: &str = "\n\n";

/// Servers are those that both answers name; of an answer that ends after any of its lines nothing else is read than of the whole.
pub fn haproxy_stat(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (stat, state) = text.split_once(BETWEEN).unwrap_or((text, ""));
    let Ok(servers) = haproxy_servers::read("erp", stat, state) else { return };
    for name in servers.keys() {
        assert!(state.contains(name.as_str()), "{name}");
    }
    for (end, _) in state.match_indices('\n').take(16) {
        if let Ok(fewer) = haproxy_servers::read("erp", stat, &state[..=end]) {
            assert!(fewer.iter().all(|(name, server)| servers.get(name) == Some(server)));
        }
    }
}

/// What is read is one line for each host, and reads the same when it is printed anew.
pub fn command_show(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(hosts) = command_show::read(text.lines()) else { return };
    assert!(hosts.len() <= text.lines().count());
    let line = |(host, seen): (&roadstead_model::HostName, &roadstead_model::ServerSeen)| {
        format!("{host} {} {} {}", seen.weight.get(), if seen.up { "up" } else { "down" }, seen.in_flight)
    };
    let printed: Vec<String> = hosts.iter().map(line).collect();
    assert_eq!(command_show::read(printed.iter().map(String::as_str)), Ok(hosts));
}
