//! Three balancers as teams have them: HAProxy and nginx from Debian, and one that the team's own script speaks for.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, each, packages};
use roadstead_tests::lab::{Host, LabError, wait_until};
use roadstead_tests::load::Load;
use std::time::Duration;

/// Asked of each balancer to see who answers.
const SAMPLE: u64 = 200;

const NGINX_SITE: &str = "\
server {
    listen 80 default_server;
    location / {
        proxy_pass http://erp;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $host;
        proxy_buffering off;
    }
}
";

/// A team's script: its balancer is HAProxy, too, and this is its way to speak to it.
const SCRIPT: &str = r##"#!/usr/bin/python3
import csv, socket, sys

def say(text):
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect("/run/haproxy/admin.sock")
        admin.sendall((text + "\n").encode())
        return admin.makefile().read()

if sys.argv[1] == "set":
    host, percent = sys.argv[2], int(sys.argv[3])
    state = "ready" if percent else "drain"
    if percent:
        say(f"set server erp/{host} weight {percent}%")
    print(say(f"set server erp/{host} state {state}"), file=sys.stderr, end="")
else:
    sessions = {row["svname"]: row["scur"] for row in csv.DictReader(say("show stat").lstrip("# ").splitlines()) if row["pxname"] == "erp"}
    head, *rows = [line.split() for line in say("show servers state erp").splitlines()[1:] if line]
    for row in rows:
        row = dict(zip(head[1:], row))
        percent = 0 if int(row["srv_admin_state"]) & 0x08 else row["srv_uweight"]
        print(row["srv_name"], percent, "up" if row["srv_op_state"] == "2" else "down", sessions[row["srv_name"]])
"##;

/// The balancers of the fleet: the hosts `lb-1` to `lb-3`.
pub(super) struct Balancers<'a> {
    fleet: &'a Fleet,
}

impl<'a> Balancers<'a> {
    /// Installs them; each is told where its servers are by its own operator.
    pub(super) fn set_up(fleet: &'a Fleet) -> Result<Self, LabError> {
        let agent = packages(roadstead_tests::fleet::Profile::Dev)?.agent;
        each(&fleet.further, |host| {
            host.install_debs(&[&agent])?;
            match host.name() {
                "lb-2" => {
                    let servers: Vec<String> = fleet.hosts.iter().map(|web| format!("{} = \"{}:80\"", web.name(), web.ip())).collect();
                    let settings = format!(
                        "[traffic.erp]\nprovider = \"nginx\"\noptions = [\"keepalive 16\"]\nservers = {{ {} }}\n",
                        servers.join(", ")
                    );
                    host.write("/etc/roadstead/agent.toml", &settings)?;
                    host.systemctl(&["enable", "--now", "nginx"])?;
                }
                name => {
                    host.write("/etc/haproxy/haproxy.cfg", haproxy(fleet))?;
                    host.systemctl(&["enable", "haproxy"])?;
                    host.systemctl(&["restart", "haproxy"])?;
                    let settings = if name == "lb-1" {
                        "[traffic.erp]\nprovider = \"haproxy\"\n"
                    } else {
                        host.write("/usr/local/sbin/balance", SCRIPT)?;
                        host.exec(&["chmod", "755", "/usr/local/sbin/balance"])?;
                        "[traffic.erp]\nprovider = \"command\"\ncommand = [\"/usr/local/sbin/balance\"]\n"
                    };
                    host.write("/etc/roadstead/agent.toml", settings)?;
                }
            }
            fleet.enroll_as(host, "role=balancer")
        })?;
        Ok(Self { fleet })
    }

    /// The first table has come to all of them, and nginx has its upstream.
    pub(super) fn wait_until_they_serve(&self) {
        let written = || self.nginx().try_sh("test -e /etc/nginx/conf.d/roadstead-erp.conf").is_ok_and(|done| done.success());
        wait_until("the upstream to be written", SOON, written).unwrap();
        self.nginx().start_nginx(NGINX_SITE).unwrap();
    }

    /// Where a balancer listens.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.fleet.further.iter().map(|host| format!("{}:80", host.ip())).collect()
    }

    pub(super) fn nginx(&self) -> &Host {
        &self.fleet.further[1]
    }

    /// As an operator does who has changed its configuration: what is under way ends in the old process.
    pub(super) fn restart_haproxy(&self) {
        self.fleet.further[0].systemctl(&["reload", "haproxy"]).unwrap();
    }

    /// Waits until each balancer sends so many of a hundred requests to each release, give or take four.
    pub(super) fn wait_for_shares(&self, wanted: &[(&str, u64)]) {
        for address in self.addresses() {
            let mut seen = Vec::new();
            let fits = || {
                let asked = Load::on(&address).path("/healthz").clients(1).at_most(SAMPLE).pause(Duration::from_millis(1));
                let report = asked.start(&self.fleet.client()).finish().unwrap();
                let share = |release: &str| report.releases.get(release).map_or(0, |seen| seen.count * 100 / SAMPLE);
                seen = wanted.iter().map(|(release, _)| share(release)).collect();
                wanted.iter().zip(&seen).all(|((_, wanted), seen)| wanted.abs_diff(*seen) <= 4)
            };
            let what = format!("{wanted:?} of the traffic of {address}");
            wait_until(&what, SOON, fits).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
        }
    }
}

fn haproxy(fleet: &Fleet) -> String {
    let servers: String = fleet.hosts.iter().map(|web| format!("    server {} {}:80 check\n", web.name(), web.ip())).collect();
    format!(
        "\
global
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend site
    bind :80
    default_backend erp
backend erp
    balance roundrobin
    option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host erp.example.com
    default-server inter 500ms fall 3 rise 1 weight 100
{servers}"
    )
}
