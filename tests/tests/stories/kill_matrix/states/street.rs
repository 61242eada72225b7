//! Where the kills of states happen: two hosts of two colors behind one HAProxy, with users who never pause.

use super::cells::{Cell, State};
use super::ends::End;
use super::users::Users;
use crate::SOON;
use roadstead_tests::fleet::{Desk, Fleet, FleetOptions, Profile, Project, Stopper, packages};
use roadstead_tests::lab::{Host, wait_until};
use serde_json::Value;

/// Longer than a kill takes, so that what is under way is never cut short.
const TRAFFIC: &str = "[traffic]\nbalancers = \"role=balancer\"\ndrain = \"60s\"\n";
const ROLLING: &str = "[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"1s\"\n";
const CANARY: &str = "\
[strategy]
kind = \"canary\"
steps = [{ hosts = 1, traffic = \"10%\", promote = \"manual\" }]
batch = 1
max-unavailable = 1
bake = \"1s\"
";
const BLUE_GREEN: &str = "[strategy]\nkind = \"blue-green\"\nsets = \"color\"\nbake = \"1s\"\n";
const GATES: &str = "[gates]\napprovals = [{ role = \"ops\" }]\n";
/// A host that is cut off is noticed soon; and who may open the gates.
const SETTINGS: &str = "heartbeat-seconds = 2\nroles = { ops = [\"bob\"] }\n";

/// Runs once, and a blue-green environment has two sets of hosts.
const BEAT: &str = "[services.beat]\nkind = \"celery-beat\"\napp = \"config.celery\"\n";
/// A page that is under way for as long as it is held, and parts that come slowly.
const PAGES: &str = "\
import time

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from redis import Redis


def held(request):
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.incr(\"begun\")
        while redis.exists(\"held\"):
            time.sleep(0.05)
    return HttpResponse(\"at last\")


def parts():
    for number in range(20):
        time.sleep(0.1)
        yield f\"{number}\\n\"


def stream(request):
    return StreamingHttpResponse(parts())
";

/// The fleet.
pub(super) struct Street {
    pub(super) fleet: Fleet,
    /// A second operator, who opens gates.
    pub(super) bob: Desk,
    pub(super) stoppers: Vec<Stopper>,
    pub(super) users: Users,
    project: Project,
    /// Those that may be deployed again.
    versions: Vec<String>,
    made: u32,
    policy: String,
}

impl Street {
    pub(super) fn new() -> Self {
        let options = FleetOptions::default().hosts(2).labels(&["role=web,color=blue", "role=web,color=green"]).further(&["lb-1"]);
        let fleet = Fleet::new("states", &options.policy(ROLLING).settings(SETTINGS)).unwrap();
        let project = sources(&fleet);
        balance(&fleet);
        let bob = second_operator(&fleet);
        let stoppers = fleet.hosts.iter().map(|host| Stopper::install(host).unwrap()).collect();
        let policy = format!("{ROLLING}{TRAFFIC}");
        fleet.apply(&policy).unwrap();
        let versions = vec![release(&project, &fleet, 1)];
        fleet.desk.roadstead(&["deploy", "staging", &versions[0]]).unwrap();
        let users = Users::begin(&fleet);
        Self { fleet, bob, stoppers, users, project, versions, made: 1, policy }
    }

    /// One kill, from a fleet that is level to one that is level again.
    pub(super) fn kill(&mut self, cell: Cell) -> Result<End, String> {
        self.make_level(cell.state);
        let before = self.serving();
        let mut seen = self.users.look();
        let held = self.reach(cell.state);
        self.hit(cell.victim, &held, &mut seen);
        self.let_go(&held);
        let end = self.end_of(&held, &before, seen)?;
        if !end.came.is_done() {
            // what was found broken is not deployed again
            self.versions.retain(|version| *version != held.version);
        }
        Ok(end)
    }

    /// Every host serves the same, where the state is not one of two sets; and the policy is the state's.
    fn make_level(&mut self, state: State) {
        let policy = match state {
            State::Gated => format!("{ROLLING}{GATES}{TRAFFIC}"),
            State::Draining | State::Returning => format!("{ROLLING}{TRAFFIC}"),
            State::Baked => format!("{CANARY}{TRAFFIC}"),
            State::Switching => format!("{BLUE_GREEN}{TRAFFIC}"),
        };
        let serving = self.serving();
        if policy != self.policy && serving.iter().any(|one| *one != serving[0]) {
            self.fleet.apply(&format!("{ROLLING}{TRAFFIC}")).unwrap();
            let version = self.next_version();
            self.fleet.desk.roadstead(&["deploy", "staging", &version]).unwrap();
        }
        if policy != self.policy {
            self.fleet.apply(&policy).unwrap();
            self.policy = policy;
        }
    }

    /// A release that no host serves: one of those that have done well before, or a new one.
    pub(super) fn next_version(&mut self) -> String {
        let serving = self.serving();
        let known = self.versions.iter().find(|version| !serving.contains(version)).cloned();
        known.unwrap_or_else(|| self.make())
    }

    fn make(&mut self) -> String {
        self.made += 1;
        let version = release(&self.project, &self.fleet, self.made);
        self.versions.push(version.clone());
        version
    }

    /// The release that each host answers with.
    pub(super) fn serving(&self) -> Vec<String> {
        self.fleet.serving().unwrap()
    }

    /// The host's machine that shares out the traffic.
    pub(super) fn balancer(&self) -> &Host {
        &self.fleet.further[0]
    }

    /// What the environment looks like.
    pub(super) fn environment(&self) -> Value {
        self.fleet.desk.json(&["env", "show", "staging"]).unwrap_or_default()
    }
}

fn sources(fleet: &Fleet) -> Project {
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    project.write("core/held.py", PAGES).unwrap();
    let health = "    path(\"healthz\", health.live, name=\"live\"),\n";
    let more = "    path(\"held\", held.held),\n    path(\"stream\", held.stream),\n";
    project.edit("config/urls.py", health, &format!("{health}{more}")).unwrap();
    project.edit("config/urls.py", "from core import health\n", "from core import health, held\n").unwrap();
    project.edit("roadstead.toml", "workers = 2\n", "workers = 2\nthreads = 8\n").unwrap();
    project.edit("roadstead.toml", BEAT, "").unwrap();
    project
}

fn release(project: &Project, fleet: &Fleet, number: u32) -> String {
    let version = format!("2.0.{number}");
    project.release(fleet, &version).unwrap();
    version
}

fn second_operator(fleet: &Fleet) -> Desk {
    fleet.desk.of_admin("bob").unwrap()
}

/// Makes the further host the balancer.
fn balance(fleet: &Fleet) {
    let balancer = &fleet.further[0];
    balancer.install_debs(&[&packages(Profile::Dev).unwrap().agent]).unwrap();
    balancer.write("/etc/haproxy/haproxy.cfg", haproxy(fleet)).unwrap();
    balancer.systemctl(&["enable", "haproxy"]).unwrap();
    balancer.systemctl(&["restart", "haproxy"]).unwrap();
    balancer.write("/etc/roadstead/agent.toml", "[traffic.erp]\nprovider = \"haproxy\"\n").unwrap();
    fleet.enroll_as(balancer, "role=balancer").unwrap();
    let all = || fleet.connected().is_ok_and(|connected| connected == fleet.hosts.len() + 1);
    wait_until("everybody to be connected", SOON, all).unwrap();
}

/// `?on=HOST` brings a request to one host.
fn haproxy(fleet: &Fleet) -> String {
    let servers: String = fleet.hosts.iter().map(|web| format!("    server {} {}:80 check\n", web.name(), web.ip())).collect();
    let chosen: String =
        fleet.hosts.iter().map(|web| format!("    use-server {0} if {{ url_param(on) -m str {0} }}\n", web.name())).collect();
    format!(
        "\
global
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 90s
    timeout server 90s
frontend site
    bind :80
    default_backend erp
backend erp
    balance roundrobin
    option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host erp.example.com
    default-server inter 500ms fall 3 rise 1 weight 100
{chosen}{servers}"
    )
}
