//! Against a made-up HAProxy that speaks as a real one does.

use super::*;
use roadstead_model::{HostName, Weight};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;

/// A server of the made-up one: its check passes or not; bits of an admin; weights; sessions.
#[derive(Debug, Clone, Copy)]
struct State {
    passes: bool,
    admin: u32,
    weight: u32,
    full_weight: u32,
    sessions: u32,
}

#[derive(Debug, Default)]
struct World {
    servers: BTreeMap<String, State>,
    /// Commands that changed something.
    told: Vec<String>,
    level: &'static str,
}

type Shared = Arc<Mutex<World>>;

fn answer(world: &mut World, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["show", "stat", "erp", "4", "-1"] => {
            let lines = world.servers.iter().map(|(name, state)| format!("erp,{name},0,{}\n", state.sessions));
            format!("# pxname,svname,qcur,scur\n{}\n", lines.collect::<String>())
        }
        ["show", "servers", "state", "erp"] => {
            let line = |(name, s): (&String, &State)| {
                let operation = if s.passes && s.admin & 1 == 0 { 2 } else { 0 };
                format!("3 erp 1 {name} 127.0.0.1 {operation} {} {} {}\n", s.admin, s.weight, s.full_weight)
            };
            let head = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n";
            format!("{head}{}\n", world.servers.iter().map(line).collect::<String>())
        }
        ["show", "servers", "state", _] => "Can't find backend.\n\n".to_owned(),
        ["set", "server", name, what, value] if world.level == "admin" => set(world, name, what, value),
        ["set", ..] => "Permission denied\n\n".to_owned(),
        _ => "Unknown command, but maybe one of the following ones is a better match:\n  help\n\n".to_owned(),
    }
}

fn set(world: &mut World, name: &str, what: &str, value: &str) -> String {
    let Some(state) = name.strip_prefix("erp/").and_then(|name| world.servers.get_mut(name)) else {
        return "No such server.\n\n".to_owned();
    };
    match (what, value, value.strip_suffix('%')) {
        ("state", "drain", _) => state.admin = 8,
        ("state", "ready", _) => state.admin = 0,
        ("weight", _, Some(percent)) => state.weight = state.full_weight * percent.parse::<u32>().unwrap() / 100,
        ("weight", weight, None) => state.weight = weight.parse().unwrap(),
        _ => return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n".to_owned(),
    }
    world.told.push(format!("{name} {what} {value}"));
    "\n".to_owned()
}

fn start(folder: &Path, servers: &[(&str, u32)]) -> (HaProxy, Shared) {
    let of = |(name, admin): &(&str, u32)| {
        ((*name).to_owned(), State { passes: true, admin: *admin, weight: 100, full_weight: 100, sessions: 4 })
    };
    let world = World { servers: servers.iter().map(of).collect(), told: Vec::new(), level: "admin" };
    let world = Arc::new(Mutex::new(world));
    let socket = folder.join("admin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let shared = Arc::clone(&world);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut command = String::new();
            stream.read_line(&mut command).await.unwrap();
            let answer = answer(&mut shared.lock().unwrap(), command.trim());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (HaProxy::new(HaProxySettings { socket, backend: "erp".into(), servers: BTreeMap::new() }), world)
}

fn weights(of: &[(&str, u32)]) -> Weights {
    of.iter().map(|(name, percent)| (HostName::parse(name).unwrap(), Weight::percent(*percent).unwrap())).collect()
}

fn told(world: &Shared) -> Vec<String> {
    std::mem::take(&mut world.lock().unwrap().told)
}

#[tokio::test]
async fn shares_are_set_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (haproxy, world) = start(folder.path(), &[("web-1", 0), ("web-2", 0)]);
    let wanted = weights(&[("web-1", 0), ("web-2", 100)]);
    let sight = haproxy.bring(&wanted).await;
    assert_eq!(told(&world), ["erp/web-1 state drain"]);
    let shares: Vec<_> = sight.servers.values().map(|server| (server.weight.get(), server.up, server.in_flight)).collect();
    assert_eq!((shares, sight.problem.clone()), (vec![(0, true, 4), (100, true, 4)], None));
    assert_eq!(haproxy.bring(&wanted).await, sight);
    assert_eq!(told(&world), Vec::<String>::new());

    // It was started anew, and has forgotten.
    world.lock().unwrap().servers.get_mut("web-1").unwrap().admin = 0;
    assert_eq!(haproxy.bring(&wanted).await, sight);
    assert_eq!(told(&world), ["erp/web-1 state drain"]);

    // A small share first, before any of it counts.
    assert_eq!(haproxy.bring(&weights(&[("web-1", 5), ("web-2", 100)])).await.problem, None);
    assert_eq!(told(&world), ["erp/web-1 weight 5%", "erp/web-1 state ready"]);
    assert_eq!(haproxy.bring(&weights(&[("web-1", 100), ("web-2", 100)])).await.problem, None);
    assert_eq!(told(&world), ["erp/web-1 weight 100%"]);
}

#[tokio::test]
async fn a_drained_server_is_up_while_its_check_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (haproxy, world) = start(folder.path(), &[("web-1", 8), ("web-2", 0)]);
    let wanted = weights(&[("web-1", 0), ("web-2", 100)]);
    let up = |sight: &Sight| sight.servers.values().map(|server| server.up).collect::<Vec<_>>();
    assert_eq!(up(&haproxy.bring(&wanted).await), [true, true]);
    world.lock().unwrap().servers.get_mut("web-1").unwrap().passes = false;
    let sight = haproxy.bring(&wanted).await;
    assert_eq!((up(&sight), sight.problem), (vec![false, true], None));
}

#[tokio::test]
async fn maintenance_stays_whatever_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (haproxy, world) = start(folder.path(), &[("web-1", 1), ("web-2", 0)]);
    let sight = haproxy.bring(&weights(&[("web-1", 100), ("web-2", 100)])).await;
    assert!(sight.problem.unwrap().summary.contains("erp/web-1 in maintenance"));
    assert_eq!(haproxy.bring(&weights(&[("web-1", 0), ("web-2", 100)])).await.problem, None);
    let refused = haproxy.bring(&weights(&[("web-1", 100), ("web-2", 0)])).await.problem.unwrap();
    assert!(refused.summary.starts_with("nobody would be left"), "{refused:?}");
    assert_eq!(told(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_socket_without_the_right_and_a_backend_that_is_not_there_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (haproxy, world) = start(folder.path(), &[("web-1", 0), ("web-2", 0)]);
    world.lock().unwrap().level = "user";
    let sight = haproxy.bring(&weights(&[("web-1", 0), ("web-2", 100)])).await;
    let problem = sight.problem.unwrap();
    assert!(problem.summary.contains("Permission denied") && problem.hint.contains("level admin"), "{problem:?}");
    assert_eq!(sight.servers.values().map(|server| server.weight.get()).collect::<Vec<_>>(), [100, 100], "as it is");

    let settings = HaProxySettings { backend: "shop".into(), ..haproxy.settings.clone() };
    let sight = HaProxy::new(settings).bring(&weights(&[("web-1", 100)])).await;
    let problem = sight.problem.unwrap();
    assert!(sight.servers.is_empty() && problem.summary.contains("Can't find backend"), "{problem:?}");
}
