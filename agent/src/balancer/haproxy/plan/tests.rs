use super::*;
use std::path::PathBuf;

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn weights(of: &[(&str, u32)]) -> Weights {
    of.iter().map(|(name, percent)| (host(name), Weight::percent(*percent).unwrap())).collect()
}

fn settings() -> HaProxySettings {
    let servers = BTreeMap::from([(host("web-1"), "w1".to_owned())]);
    HaProxySettings { socket: PathBuf::from("/run/haproxy/admin.sock"), backend: "erp".into(), servers }
}

fn server(weight: u32, full_weight: u32) -> Server {
    Server { up: true, weight, full_weight, ..Server::default() }
}

fn drained(full_weight: u32) -> Server {
    Server { drained: true, ..server(full_weight, full_weight) }
}

fn in_maintenance() -> Server {
    Server { in_maintenance: true, up: false, ..server(100, 100) }
}

/// What is told to HAProxy, and what to the controller: shares, and the problem.
fn plan(wanted: &[(&str, u32)], servers: &[(&str, Server)]) -> (Vec<String>, Vec<(String, u8)>, String) {
    let (settings, wanted) = (settings(), weights(wanted));
    let servers = servers.iter().map(|(name, server)| ((*name).to_owned(), *server)).collect();
    let plan = Plan { settings: &settings, wanted: &wanted, servers: &servers };
    let sight = plan.sight();
    let shares = sight.servers.iter().map(|(host, seen)| (host.to_string(), seen.weight.get())).collect();
    let commands = plan.commands().into_iter().map(|command| command.replace("set server erp/", "")).collect();
    (commands, shares, sight.problem.map(|problem| problem.summary).unwrap_or_default())
}

fn shares(of: &[(&str, u8)]) -> Vec<(String, u8)> {
    of.iter().map(|(host, share)| ((*host).to_owned(), *share)).collect()
}

#[test]
fn who_takes_more_is_told_before_who_takes_less() {
    let (commands, shares_now, _) = plan(
        &[("web-1", 0), ("web-2", 100), ("web-3", 50)],
        &[("w1", server(100, 100)), ("web-2", drained(100)), ("web-3", server(100, 100))],
    );
    assert_eq!(commands, ["web-2 state ready", "web-3 weight 50%", "w1 state drain"]);
    assert_eq!(shares_now, shares(&[("web-1", 100), ("web-2", 0), ("web-3", 100)]), "what is in effect, not what is wanted");
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let (commands, shares_now, problem) =
        plan(&[("web-1", 0), ("web-2", 33), ("web-3", 100)], &[("w1", drained(64)), ("web-2", server(21, 64)), ("web-3", server(1, 1))]);
    assert_eq!((commands, problem), (Vec::new(), String::new()));
    assert_eq!(shares_now, shares(&[("web-1", 0), ("web-2", 33), ("web-3", 100)]));
}

#[test]
fn maintenance_is_never_lifted() {
    let (commands, shares_now, problem) = plan(
        &[("web-1", 100), ("web-2", 100), ("web-3", 0)],
        &[("w1", in_maintenance()), ("web-2", server(100, 100)), ("web-3", in_maintenance())],
    );
    assert_eq!(commands, Vec::<String>::new());
    assert_eq!(shares_now, shares(&[("web-1", 0), ("web-2", 100), ("web-3", 0)]));
    assert!(problem.contains("erp/w1 in maintenance") && !problem.contains("web-3"), "{problem}");
}

#[test]
fn nobody_is_drained_when_nobody_would_be_left() {
    let (commands, _, problem) = plan(&[("web-1", 100), ("web-2", 0)], &[("w1", in_maintenance()), ("web-2", server(100, 100))]);
    assert_eq!(commands, Vec::<String>::new());
    assert!(problem.starts_with("nobody would be left"), "{problem}");
    let (commands, _, problem) = plan(&[("web-1", 0), ("web-9", 100)], &[("w1", server(100, 100))]);
    assert_eq!(commands, Vec::<String>::new());
    assert!(problem.starts_with("nobody would be left") && problem.ends_with("(and 2 more)"), "{problem}");
}

#[test]
fn a_host_that_is_not_known_is_named_and_the_others_are_done() {
    let (commands, shares_now, problem) =
        plan(&[("web-1", 0), ("web-2", 100), ("web-9", 100)], &[("w1", server(1, 1)), ("web-2", server(1, 1))]);
    assert_eq!(commands, ["w1 state drain"]);
    assert_eq!(shares_now, shares(&[("web-1", 100), ("web-2", 100)]));
    assert!(problem.contains("does not know web-9: HAProxy has no server erp/web-9"), "{problem}");
}

#[test]
fn a_small_weight_is_never_made_none() {
    let (commands, ..) = plan(&[("web-1", 1), ("web-2", 50)], &[("w1", server(64, 64)), ("web-2", server(0, 1))]);
    assert_eq!(commands, ["w1 weight 1", "web-2 weight 1"]);
    let (commands, shares_now, problem) = plan(&[("web-1", 1), ("web-2", 50)], &[("w1", server(1, 64)), ("web-2", server(1, 1))]);
    assert_eq!((commands, shares_now), (Vec::new(), shares(&[("web-1", 1), ("web-2", 100)])), "as near as it gets, or told as it is");
    assert!(problem.contains("erp/web-2 at 100 % instead of 50 %: its weight is 1 of 1"), "{problem}");
}

#[test]
fn a_server_without_a_weight_of_its_own_keeps_to_that() {
    let (commands, shares_now, problem) = plan(&[("web-1", 100), ("web-2", 100)], &[("w1", server(0, 0)), ("web-2", server(9, 9))]);
    assert_eq!((commands, shares_now), (Vec::new(), shares(&[("web-1", 0), ("web-2", 100)])));
    assert!(problem.contains("weight is 0 of 0"), "{problem}");
}

#[test]
fn what_somebody_else_sets_is_told() {
    let servers = [("w1", drained(100)), ("web-2", server(100, 100))];
    let (commands, _, problem) = plan(&[("web-1", 100), ("web-2", 100)], &servers);
    assert_eq!(commands, ["w1 state ready"]);
    assert_eq!(problem, "HAProxy has server erp/w1 at drained instead of 100 %: its weight is 100 of 100");
}
