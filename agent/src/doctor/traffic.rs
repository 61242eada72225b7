//! `[traffic.APP]`, looked at: whether what shares out the traffic can be spoken to. Nothing is told to it.

use roadstead_model::{AppName, Finding, HostName};
use std::collections::BTreeMap;
use std::path::Path;

use crate::balancer::haproxy::{Client, HaProxy, Server};
use crate::balancer::nginx;
use crate::doctor::program::program_of_root;
use crate::settings::{CommandSettings, HaProxySettings, NginxSettings, TrafficSettings};

const CHECK: &str = "traffic";
/// Below this weight, shares are told apart too roughly.
const WEIGHT_FINE: u32 = 20;

/// Looks at how one app's traffic is shared out.
pub(super) async fn traffic(app: &AppName, settings: &TrafficSettings) -> Finding {
    match settings {
        TrafficSettings::HaProxy(settings) => haproxy(app, settings).await,
        TrafficSettings::Nginx(settings) => nginx(app, settings, Path::new(nginx::PROGRAM)),
        TrafficSettings::Command(settings) => command(app, settings),
    }
}

async fn haproxy(app: &AppName, settings: &HaProxySettings) -> Finding {
    let socket = settings.socket.display();
    let (level, servers) = (Client::new(settings.socket.clone()).ask("show cli level").await, HaProxy::new(settings.clone()).look().await);
    match (level, servers) {
        (Err(error), _) | (_, Err(error)) => {
            let failure = error.failure();
            Finding::failed(CHECK, format!("{app}: {}", failure.summary), failure.hint)
        }
        (Ok(level), Ok(_)) if level.trim() != "admin" => {
            let level: String = level.trim().chars().filter(|c| !c.is_control()).take(60).collect();
            let hint = "write `level admin` behind the `stats socket` in haproxy.cfg and reload HAProxy";
            Finding::failed(CHECK, format!("{app}: HAProxy's socket {socket} has the level {level:?} and lets nobody set anything"), hint)
        }
        (Ok(_), Ok(servers)) => backend(app, settings, &servers),
    }
}

/// The servers of a backend, beside what the settings say of them.
fn backend(app: &AppName, settings: &HaProxySettings, servers: &BTreeMap<String, Server>) -> Finding {
    let backend = &settings.backend;
    let names = servers.keys().cloned().collect::<Vec<_>>().join(", ");
    let missing = |(_, server): &(&HostName, &String)| !servers.contains_key(*server);
    if let Some((host, server)) = settings.servers.iter().find(missing) {
        let says = format!("{app}: HAProxy's backend {backend} has no server {server}, which {host} is to be: it has {names}");
        return Finding::failed(CHECK, says, "correct `servers` in agent.toml, or haproxy.cfg");
    }
    if servers.is_empty() {
        return Finding::failed(CHECK, format!("{app}: HAProxy's backend {backend} has no server"), "add one for each host to haproxy.cfg");
    }
    if let Some((server, of)) = servers.iter().find(|(_, server)| server.full_weight < WEIGHT_FINE) {
        let says = format!("{app}: HAProxy's server {backend}/{server} has the weight {}, of which small shares are none", of.full_weight);
        return Finding::warning(CHECK, says, "write `weight 100` for each server of the backend in haproxy.cfg");
    }
    Finding::ok(CHECK, format!("{app}: HAProxy's backend {backend} has {names}"))
}

fn nginx(app: &AppName, settings: &NginxSettings, program: &Path) -> Finding {
    let file = settings.file.display();
    if !program.is_file() {
        let says = format!("{app}: there is no nginx at {}", program.display());
        return Finding::failed(CHECK, says, "`apt install nginx`, or name another provider in agent.toml");
    }
    if !settings.file.parent().is_some_and(Path::is_dir) {
        return Finding::failed(
            CHECK,
            format!("{app}: {file} is to be written, and its folder is not there"),
            "make it, or correct `file`",
        );
    }
    match nginx::is_written(&settings.file) {
        Err(failure) => Finding::failed(CHECK, format!("{app}: {}", failure.summary), failure.hint),
        Ok(true) => Finding::ok(CHECK, format!("{app}: nginx's upstream {} is in {file}", settings.upstream)),
        Ok(false) => Finding::ok(CHECK, format!("{app}: nginx's upstream {} will be in {file}", settings.upstream)),
    }
}

fn command(app: &AppName, settings: &CommandSettings) -> Finding {
    let program = Path::new(settings.words.first().map_or("", String::as_str));
    program_of_root(CHECK, app.as_str(), program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Verdict;
    use std::fs;
    use std::path::PathBuf;

    fn app() -> AppName {
        AppName::parse("erp").unwrap()
    }

    fn haproxy_settings() -> HaProxySettings {
        let servers = BTreeMap::from([(HostName::parse("web-1").unwrap(), "w1".to_owned())]);
        HaProxySettings { socket: PathBuf::from("/nonexistent/admin.sock"), backend: "erp".into(), servers }
    }

    #[tokio::test]
    async fn a_haproxy_that_is_not_there_is_told() {
        let finding = traffic(&app(), &TrafficSettings::HaProxy(haproxy_settings())).await;
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.says.contains("/nonexistent/admin.sock") && finding.hint.contains("level admin"), "{finding:?}");
    }

    #[test]
    fn a_backend_has_the_servers_that_the_settings_name() {
        let of = |names: &[(&str, u32)]| {
            let server = |full_weight| Server { full_weight, weight: full_weight, ..Server::default() };
            backend(&app(), &haproxy_settings(), &names.iter().map(|(name, weight)| ((*name).to_owned(), server(*weight))).collect())
        };
        assert_eq!(of(&[("w1", 100), ("web-2", 100)]).verdict, Verdict::Ok);
        assert_eq!(of(&[("w1", 100), ("web-2", 1)]).verdict, Verdict::Warning);
        let missing = of(&[("w2", 100)]);
        assert_eq!(missing.verdict, Verdict::Failed);
        assert!(missing.says.contains("no server w1, which web-1 is to be: it has w2"), "{missing:?}");
    }

    #[test]
    fn nginx_is_there_and_its_file_the_agents_own() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("nginx");
        let file = folder.path().join("conf.d/shop.conf");
        let settings = NginxSettings { upstream: "shop".into(), file: file.clone(), servers: BTreeMap::new(), options: Vec::new() };
        let look = || nginx(&app(), &settings, &program);
        assert!(look().says.contains("no nginx"));
        fs::write(&program, "").unwrap();
        assert!(look().says.contains("folder is not there"));
        fs::create_dir(file.parent().unwrap()).unwrap();
        assert!(look().says.contains("will be in"));
        fs::write(&file, "upstream shop {}\n").unwrap();
        assert_eq!(look().verdict, Verdict::Failed);
        fs::write(&file, "# written by roadstead-agent\n").unwrap();
        assert!(look().says.contains("is in"));
    }
}
