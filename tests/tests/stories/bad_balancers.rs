//! Balancers that lie, say nonsense, hang, or are down: nobody moves by guesses, the operator reads why, and what served serves on. And hosts
//! that come to a balancer, new or after a while: none gets a request before it serves what the others do.

use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::{Host, HostOptions, wait_until};
use std::cell::Cell;

use crate::SOON;

const POLICY: &str = "\
[strategy]
batch = 1
max-unavailable = 1
bake = \"1s\"

[traffic]
balancers = \"role=lb\"
drain = \"2s\"

[timeouts]
away = \"5s\"
";

/// A team's script, whose balancer is a folder with a file for each host: it asks each that gets a share, and writes down what that answers. In
/// a mode it does what a bad one does.
const SCRIPT: &str = "\
#!/bin/sh
set -eu
mode=$(cat /srv/lb.mode)
case $mode:$1 in
    nonsense:show) echo '<html><h1>502 Bad Gateway</h1></html>' ;;
    hangs:show) sleep 3600 ;;
    fails:*) echo 'the token of the cloud has expired' >&2; exit 3 ;;
    lies:set) ;;
    *:set)
        echo \"$3\" >/srv/lb/$2
        [ $3 = 0 ] || echo \"$2 $(curl -s -o /dev/null -m 5 -H 'Host: localhost' -w '%{http_code} %header{x-release}' http://$(cat /srv/ip/$2)/)\" >>/srv/lb.log ;;
    *:show)
        state=up
        [ $mode = down ] && state=down
        for host in /srv/lb/*; do echo \"$(basename $host) $(cat $host) $state 0\"; done ;;
esac
";
const COMMAND: &str = "[traffic.tiny]\nprovider = \"command\"\ncommand = [\"/usr/local/sbin/balance\"]\nwithin = \"2s\"\n";
const HAPROXY: &str = "[traffic.tiny]\nprovider = \"haproxy\"\n";
const HAPROXY_CFG: &str = "\
global
    stats socket /run/haproxy/admin.sock mode 660 level LEVEL
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend front
    bind :80
    default_backend tiny
backend tiny
";

struct Story {
    tiny: TinyFleet,
    balancer: Host,
    /// Not enrolled at first.
    new: Host,
    version: Cell<u32>,
}

#[test]
fn nobody_moves_by_the_word_of_a_bad_balancer() {
    let tiny = TinyFleet::with_more("bad-lb", &["tiny-2"]).unwrap();
    tiny.push("1.0.0", &Twist::default()).unwrap();
    tiny.deploy("1.0.0").unwrap();
    let wanted = ["lb", "tiny-3"].map(|name| (name.to_owned(), HostOptions::default())).to_vec();
    let [balancer, new] = <[Host; 2]>::try_from(tiny.fleet.lab.hosts_with(wanted).unwrap()).unwrap();
    let story = Story { tiny, balancer, new, version: Cell::new(0) };
    story.set_up();

    story.refused_with("lies", COMMAND, "the command for traffic still shows tiny at 100 % instead of drained");
    story.refused_with("nonsense", COMMAND, "502 Bad Gateway");
    story.refused_with("hangs", COMMAND, "took too long and was stopped");
    story.refused_with("fails", COMMAND, "the token of the cloud has expired");
    story.refused_with("down", COMMAND, "down");
    story.haproxy();
    story.nginx();

    story.mode("good", COMMAND);
    story.succeeds();
    story.a_new_host_comes();
    story.a_host_comes_back();
}

impl Story {
    fn set_up(&self) {
        let Self { tiny, balancer, .. } = self;
        balancer.write("/usr/local/sbin/balance", SCRIPT).unwrap();
        balancer
            .sh("chmod 755 /usr/local/sbin/balance; mkdir /srv/lb /srv/ip; for host in tiny tiny-2; do echo 100 >/srv/lb/$host; done")
            .unwrap();
        tiny.fleet.hosts.iter().for_each(|host| balancer.write(&format!("/srv/ip/{}", host.name()), host.ip()).unwrap());
        balancer.write("/srv/lb.mode", "good").unwrap();
        balancer.write("/etc/roadstead/agent.toml", COMMAND).unwrap();
        tiny.fleet.enroll_in("tiny", balancer, &["role=lb"]).unwrap();
        tiny.fleet.policy("tiny", POLICY).unwrap();
        self.succeeds();
    }

    /// Makes the balancer another one, and waits until its agent has looked at it.
    fn mode(&self, mode: &str, settings: &str) {
        self.balancer.write("/srv/lb.mode", mode).unwrap();
        self.balancer.sh("for host in tiny tiny-2; do echo 100 >/srv/lb/$host; done").unwrap();
        self.balancer.write("/etc/roadstead/agent.toml", settings).unwrap();
        self.balancer.systemctl(&["restart", "roadstead-agent"]).unwrap();
        self.are_connected(3);
    }

    fn are_connected(&self, count: usize) {
        wait_until("everybody to be connected", SOON, || self.tiny.fleet.connected() == Some(count)).unwrap();
    }

    fn refused_with(&self, mode: &str, settings: &str, clue: &str) {
        println!("=== {mode}");
        self.mode(mode, settings);
        self.refused(clue);
    }

    /// A release that nobody knows yet.
    fn next(&self) -> String {
        self.version.set(self.version.get() + 1);
        let version = format!("1.{}.0", self.version.get());
        self.tiny.push(&version, &Twist::default()).unwrap();
        version
    }

    fn succeeds(&self) {
        let version = self.next();
        println!("{}", self.tiny.deploy(&version).unwrap());
        assert_eq!(self.serving(), [version.clone(), version]);
    }

    /// The release comes to nobody for good, the reason names the balancer, and what served serves.
    fn refused(&self, clue: &str) {
        let before = self.serving();
        let done = self.tiny.try_deploy(&self.next()).unwrap();
        let shown = self.tiny.fleet.desk.roadstead(&["env", "show", "tiny"]).unwrap();
        let said = format!("{}{}{shown}", done.stdout, done.stderr);
        println!("{said}");
        assert_eq!(done.code, Some(1), "{said}");
        assert!(said.contains("lb") && said.contains(clue), "{clue:?} is not said: {said}");
        assert_eq!(self.serving(), before);
        assert!(self.tiny.answer().unwrap().starts_with("200 "), "users are answered");
    }

    /// A machine is at the balancer already, as an autoscaler puts it there, and enrolls: it has the release before it has a request.
    fn a_new_host_comes(&self) {
        let current = self.serving().remove(0);
        self.balancer.write("/srv/ip/tiny-3", self.new.ip()).unwrap();
        self.balancer.sh("echo 0 >/srv/lb/tiny-3").unwrap();
        self.tiny.fleet.add("tiny", &self.new).unwrap();
        self.gets_requests();
        assert_eq!(self.tiny.fleet.serving("tiny", &self.new).unwrap(), current);
        self.answered_with(&current);
    }

    /// It was off while two releases came, boots into what it served, and gets no request before it serves what the others do.
    fn a_host_comes_back(&self) {
        let with_room = POLICY.replace("max-unavailable = 1\n", "max-unavailable = 2\nfailure-budget = 1\n");
        self.tiny.fleet.policy("tiny", &with_room).unwrap();
        self.new.power_cut().unwrap();
        self.are_connected(3);
        self.succeeds();
        self.succeeds();
        let current = self.serving().remove(0);
        self.balancer.sh(": >/srv/lb.log; test $(cat /srv/lb/tiny-3) = 0").unwrap();
        self.new.boot().unwrap();
        self.gets_requests();
        self.answered_with(&current);
    }

    fn gets_requests(&self) {
        let takes = || self.balancer.sh("cat /srv/lb/tiny-3").is_ok_and(|share| share.trim() == "100");
        wait_until("the host to get its share", SOON * 2, takes).unwrap();
    }

    /// Whenever the host got a share, it answered with the release of the others.
    fn answered_with(&self, version: &str) {
        let log = self.balancer.sh("grep '^tiny-3 ' /srv/lb.log").unwrap();
        assert!(!log.is_empty() && log.lines().all(|line| line == format!("tiny-3 200 {version}")), "{log}");
    }

    fn serving(&self) -> Vec<String> {
        self.tiny.fleet.hosts.iter().map(|host| self.tiny.fleet.serving("tiny", host).unwrap()).collect()
    }

    /// HAProxy does not run; it does not let anybody change anything; it does not know a host. Then it is as it should be.
    fn haproxy(&self) {
        let balancer = &self.balancer;
        balancer.systemctl(&["stop", "haproxy"]).unwrap();
        self.refused_with("HAProxy is down", HAPROXY, "is HAProxy running");
        let servers: Vec<String> =
            self.tiny.fleet.hosts.iter().map(|host| format!("    server {} {}:80 check\n", host.name(), host.ip())).collect();
        let run = |level: &str, servers: &[String]| {
            balancer.write("/etc/haproxy/haproxy.cfg", &(HAPROXY_CFG.replace("LEVEL", level) + &servers.concat())).unwrap();
            balancer.systemctl(&["restart", "haproxy"]).unwrap();
        };
        run("user", &servers);
        self.refused_with("HAProxy lets nobody change anything", HAPROXY, "level admin");
        run("admin", &servers[..1]);
        self.refused_with("HAProxy does not know a host", HAPROXY, "tiny-2");
        run("admin", &servers);
        self.mode("HAProxy is as it should be", HAPROXY);
        self.succeeds();
        balancer.systemctl(&["stop", "haproxy"]).unwrap();
    }

    /// A file of somebody else's that nginx does not take keeps the shares from being taken up, and is named.
    fn nginx(&self) {
        let balancer = &self.balancer;
        let servers: Vec<String> = self.tiny.fleet.hosts.iter().map(|host| format!("{} = \"{}:80\"", host.name(), host.ip())).collect();
        let settings = format!("[traffic.tiny]\nprovider = \"nginx\"\nservers = {{ {} }}\n", servers.join(", "));
        balancer.systemctl(&["start", "nginx"]).unwrap();
        balancer.write("/etc/nginx/conf.d/teams-own.conf", "no such thing;\n").unwrap();
        self.refused_with("nginx does not take its files", &settings, "nginx does not take the new shares: nginx -t");
        balancer.sh("rm /etc/nginx/conf.d/teams-own.conf").unwrap();
        self.mode("nginx is as it should be", &settings);
        self.succeeds();
    }
}
