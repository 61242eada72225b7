//! What balancers do with the hosts behind them, for people and for programs.

use roadstead_model::Traffic;
use roadstead_proto::v1::{Balancer, ServerSeen};
use serde_json::json;

/// Lines of an environment's description: who shares out its traffic, and what each of them does.
pub(crate) fn rows(traffic: Option<&Traffic>, balancers: &[Balancer]) -> Vec<[String; 2]> {
    let Some(traffic) = traffic else { return Vec::new() };
    let behind = if traffic.hosts.is_everything() { String::new() } else { format!(" to {}", traffic.hosts) };
    let shared = format!("shared out by {}{behind}; requests in flight are waited for {}", traffic.balancers, traffic.drain);
    let mut rows = vec![["traffic".to_owned(), shared]];
    rows.extend(balancers.iter().map(|balancer| ["balancer".to_owned(), told(balancer)]));
    if balancers.is_empty() {
        rows.push(["balancer".to_owned(), "no host that enrolled has the label".to_owned()]);
    }
    rows
}

/// One balancer: what it does, or why nobody knows.
pub(crate) fn told(balancer: &Balancer) -> String {
    let Balancer { host, connected, servers, problem } = balancer;
    if !connected {
        return format!("{host} is away; what it does goes on");
    }
    let mut parts: Vec<String> = servers.iter().map(|server| format!("{} {}", server.host, share(server))).collect();
    if servers.is_empty() && problem.is_none() {
        parts.push("has said nothing yet".to_owned());
    }
    let problem = problem.as_ref().map(|problem| format!("; {} ({})", problem.summary, problem.hint)).unwrap_or_default();
    format!("{host}: {}{problem}", parts.join(", "))
}

/// What one host gets.
fn share(server: &ServerSeen) -> String {
    let weight = if server.percent == 0 { "drained".to_owned() } else { format!("{} %", server.percent) };
    let down = if server.percent > 0 && !server.up { ", down" } else { "" };
    match server.in_flight {
        0 => format!("{weight}{down}"),
        requests => format!("{weight}{down} ({requests} in flight)"),
    }
}

/// What a host gets of all balancers; empty where none says.
pub(crate) fn of_host(balancers: &[Balancer], host: &str) -> String {
    let mut shares: Vec<String> = Vec::new();
    for server in balancers.iter().flat_map(|balancer| &balancer.servers).filter(|server| server.host == host) {
        let told = share(&ServerSeen { in_flight: 0, ..server.clone() });
        if !shares.contains(&told) {
            shares.push(told);
        }
    }
    shares.join(" / ")
}

/// For programs.
pub(crate) fn json(balancer: &Balancer) -> serde_json::Value {
    let server =
        |server: &ServerSeen| json!({ "host": server.host, "percent": server.percent, "up": server.up, "in_flight": server.in_flight });
    json!({
        "host": balancer.host,
        "connected": balancer.connected,
        "servers": balancer.servers.iter().map(server).collect::<Vec<_>>(),
        "problem": balancer.problem.as_ref().map(|problem| &problem.summary),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{Millis, Selector};
    use roadstead_proto::v1::Failure;

    fn server(host: &str, percent: u32, up: bool, in_flight: u32) -> ServerSeen {
        ServerSeen { host: host.to_owned(), percent, up, in_flight }
    }

    #[test]
    fn balancers_are_told_at_a_glance() {
        let traffic = Traffic {
            balancers: Selector::parse("role=lb").unwrap(),
            hosts: Selector::parse("role=web").unwrap(),
            drain: Millis::from_secs(30),
        };
        let problem = Failure { summary: "no server web-3 in backend erp".to_owned(), hint: "add it".to_owned(), ..Failure::default() };
        let lb = |host: &str, connected, servers, problem| Balancer { host: host.to_owned(), connected, servers, problem };
        let balancers = [
            lb("lb-1", true, vec![server("web-1", 100, true, 4), server("web-2", 0, true, 1)], Some(problem)),
            lb("lb-2", true, vec![server("web-1", 100, false, 0), server("web-2", 0, true, 0)], None),
            lb("lb-3", true, vec![], None),
            lb("lb-4", false, vec![], None),
        ];
        let rows: Vec<String> = rows(Some(&traffic), &balancers).into_iter().map(|row| row.join(": ")).collect();
        insta::assert_snapshot!(rows.join("\n"));
        assert_eq!(of_host(&balancers, "web-1"), "100 % / 100 %, down");
        assert_eq!((of_host(&balancers, "web-2"), of_host(&balancers, "web-3")), ("drained".into(), String::new()));
    }
}
