//! Secrets of every kind of provider, with a real OpenBao: each host finds the values by itself, the app has them, and nobody else: not the
//! controller, no log, no output, no argument, no support bundle. A new version goes the way of a release, and back with it.

use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions, wait_until};
use std::fs;
use std::process::Command;
use std::time::Duration;

const ROOT_TOKEN: &str = "root-token-of-the-lab";
const NAMES: [&str; 4] = ["VAULT_KEY", "CREDENTIAL", "AGE_KEY", "COMMAND_KEY"];
const LONG: Duration = Duration::from_secs(60);

const SPEC: &str = "\
[env]
VAULT_KEY = { required = true, secret = true }
CREDENTIAL = { required = true, secret = true }
AGE_KEY = { required = true, secret = true }
COMMAND_KEY = { required = true, secret = true }

[hooks]
after-cutover = [[\"python\", \"-c\", \"import os; print('told', *(os.environ[name] for name in os.environ if name.endswith('_KEY')))\"]]
";

/// Answers with sums of what it was told, and tells nothing.
const APP: &str = "\
import hashlib
import os

NAMES = ['VAULT_KEY', 'CREDENTIAL', 'AGE_KEY', 'COMMAND_KEY']

def application(environ, start_response):
    sums = [hashlib.sha256(os.environ[name].encode()).hexdigest()[:12] for name in NAMES]
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Release', os.environ['ROADSTEAD_VERSION'])])
    return [' '.join(['fine', *sums]).encode()]
";

/// Dies with all of it on its lips.
const LEAKING: &str = "\
import os
raise RuntimeError('cannot go on with ' + ' '.join(os.environ[name] for name in ['VAULT_KEY', 'CREDENTIAL', 'AGE_KEY', 'COMMAND_KEY']))
";

/// A value that nobody has seen before: random as the kernel gives it.
fn planted(name: &str) -> String {
    let random = fs::read("/proc/sys/kernel/random/uuid").unwrap();
    format!("canary-{}-{}", name.to_lowercase().replace('_', "-"), String::from_utf8(random).unwrap().trim())
}

fn sum(value: &str) -> String {
    let said = Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum", "sum", value]).output().unwrap();
    String::from_utf8(said.stdout).unwrap()[..12].to_owned()
}

/// OpenBao with TLS on a host of its own.
pub(crate) struct Bao {
    host: Host,
    pub(crate) address: String,
}

impl Bao {
    pub(crate) fn start(host: Host) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/openbao");
        let program = Command::new(script).output().unwrap();
        assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stderr));
        let program = String::from_utf8(program.stdout).unwrap();
        host.push_file(program.trim().as_ref(), "/usr/local/bin/bao").unwrap();
        host.sh("mkdir -p /root/bao").unwrap();
        host.sh(&format!(
            "systemd-run --quiet --unit=bao --setenv=HOME=/root /usr/local/bin/bao server -dev -dev-no-store-token -dev-tls \
             -dev-tls-cert-dir=/root/bao -dev-listen-address=0.0.0.0:8200 -dev-root-token-id={ROOT_TOKEN}"
        ))
        .unwrap();
        // Its certificate names the host, not its address.
        let this = Self { address: format!("https://{}:8200", host.name()), host };
        wait_until("OpenBao", LONG, || this.try_bao("status").code == Some(0)).unwrap();
        this
    }

    fn try_bao(&self, words: &str) -> Execution {
        let environment = format!("BAO_ADDR=https://127.0.0.1:8200 BAO_CACERT=/root/bao/vault-ca.pem BAO_TOKEN={ROOT_TOKEN} HOME=/root");
        self.host.try_sh(&format!("{environment} bao {words}")).unwrap()
    }

    pub(crate) fn bao(&self, words: &str) -> String {
        self.try_bao(words).checked("vault", words).unwrap()
    }

    /// A version of the app's secret; values come by standard input.
    fn put(&self, value: &str) {
        self.host.write("/root/bao/value", value).unwrap();
        self.bao("kv put secret/tiny/app key=@/root/bao/value");
        self.host.sh("rm /root/bao/value").unwrap();
    }

    /// A role that may do what the policy says, shown on the host by files of root's.
    pub(crate) fn admits(&self, host: &Host, policy: &str) {
        self.host.write("/root/bao/app.hcl", policy).unwrap();
        self.bao("policy write app /root/bao/app.hcl");
        self.bao("auth enable approle");
        self.bao("write auth/approle/role/app token_policies=app token_ttl=20m");
        let (role, secret) = (
            self.bao("read -field=role_id auth/approle/role/app/role-id"),
            self.bao("write -f -field=secret_id auth/approle/role/app/secret-id"),
        );
        host.sh(&format!("install -d -m 700 /etc/roadstead/vault && echo {} {} >>/etc/hosts", self.host.ip(), self.host.name())).unwrap();
        for (name, content) in
            [("role-id", role.as_str()), ("secret-id", &secret), ("ca.pem", &self.host.read("/root/bao/vault-ca.pem").unwrap())]
        {
            host.write(&format!("/etc/roadstead/vault/{name}"), content).unwrap();
            host.sh(&format!("chmod 600 /etc/roadstead/vault/{name}")).unwrap();
        }
    }
}

/// Where this host has secrets from.
fn settings(address: &str) -> String {
    format!(
        "[secrets.vault]\nkind = \"vault\"\naddresses = [\"{address}\"]\nauthorities = \"/etc/roadstead/vault/ca.pem\"\nlogin = \"approle\"\n\
         role-id-file = \"/etc/roadstead/vault/role-id\"\nsecret-id-file = \"/etc/roadstead/vault/secret-id\"\n\n\
         [secrets.credential]\nkind = \"credential\"\n\n\
         [secrets.age]\nkind = \"age\"\nidentities = [\"/etc/roadstead/age/host.key\"]\nallow = [\"secrets.env.age\"]\n\n\
         [secrets.shop]\nkind = \"command\"\ncommand = [\"/usr/local/sbin/shop\", \"{{path}}\"]\n"
    )
}

struct Story {
    fleet: TinyFleet,
    bao: Bao,
    planted: Vec<String>,
}

impl Story {
    fn begin() -> Self {
        let fleet = TinyFleet::new("secrets", &HostOptions::default()).unwrap();
        let bao = Bao::start(fleet.fleet.lab.hosts_with(vec![("vault".to_owned(), HostOptions::default())]).unwrap().remove(0));
        let planted: Vec<String> = NAMES.iter().map(|name| planted(name)).collect();
        let host = fleet.host();
        bao.put(&planted[0]);
        bao.admits(host, "path \"secret/data/tiny/*\" { capabilities = [\"read\"] }\n");
        host.sh("install -d -m 700 /etc/roadstead/age /etc/credstore && age-keygen -o /etc/roadstead/age/host.key 2>/dev/null").unwrap();
        host.write("/etc/credstore/tiny.key", &planted[1]).unwrap();
        host.sh("chmod 600 /etc/credstore/tiny.key").unwrap();
        host.write("/root/shop.txt", &planted[3]).unwrap();
        host.write("/usr/local/sbin/shop", "#!/bin/sh\n[ \"$1\" = tiny/door ] && exec cat /root/shop.txt\nexit 4\n").unwrap();
        host.sh("chmod 600 /root/shop.txt; chmod 755 /usr/local/sbin/shop").unwrap();
        let config = host.read("/etc/roadstead/agent.toml").unwrap();
        host.write("/etc/roadstead/agent.toml", format!("{config}\n{}", settings(&bao.address))).unwrap();
        host.systemctl(&["restart", "roadstead-agent"]).unwrap();
        fleet.fleet.wait_for_all().unwrap();
        let doctor = host.try_exec(&["roadstead-agent", "doctor"]).unwrap().stdout;
        for name in ["vault", "credential", "age", "shop"] {
            assert!(doctor.contains(&format!("{name}: ")), "{doctor}");
        }
        Self { fleet, bao, planted }
    }

    fn told(&self, words: &[&str]) -> String {
        self.fleet.fleet.desk.roadstead(words).unwrap()
    }

    fn refused(&self, words: &[&str], code: i32, why: &[&str]) -> String {
        let said = self.fleet.fleet.desk.try_roadstead(words).unwrap();
        let text = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, Some(code), "{words:?}: {text}");
        why.iter().for_each(|part| assert!(text.contains(part), "{words:?} says why, {part:?}: {text}"));
        text
    }

    /// A file of the release that this host alone can read.
    fn encrypted(&self) -> String {
        let recipient = self.fleet.host().sh("age-keygen -y /etc/roadstead/age/host.key").unwrap();
        let script = "printf 'AGE_KEY=%s\\n' \"$2\" | age --encrypt --armor --recipient \"$1\"";
        let said = Command::new("sh").args(["-c", script, "age", recipient.trim(), &self.planted[2]]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    /// The app has these values, and no others.
    fn app_has(&self, values: &[String]) {
        let (status, body) = self.fleet.fleet.ask(self.fleet.host(), "/healthz").unwrap();
        let sums: Vec<String> = values.iter().map(|value| sum(value)).collect();
        assert_eq!((status, body.trim()), (200, format!("fine {}", sums.join(" ")).as_str()));
    }
}

#[test]
fn secrets_reach_the_app_and_nobody_else() {
    let story = Story::begin();
    let Story { fleet, bao, planted } = &story;
    let host = fleet.host();
    let encrypted = story.encrypted();
    let files = [("secrets.env.age", encrypted.as_str())];
    let good = Twist { app: Some(APP), spec: SPEC, files: &files, ..Twist::default() };
    fleet.push("1.0.0", &good).unwrap();
    fleet.push("1.1.0", &Twist { app: Some(LEAKING), ..good }).unwrap();

    // What is a secret is said by its place alone.
    let refused = story.refused(&["config", "set", "tiny", "VAULT_KEY=do-not-keep-this"], 2, &["VAULT_KEY is a secret", "--secret"]);
    assert!(!refused.contains("do-not-keep-this"));
    story.refused(&["config", "set", "tiny", "--secret", "VAULT_KEY=do-not-keep-this"], 2, &["no reference to a secret"]);
    story.told(&["config", "set", "tiny", "--secret", "VAULT_KEY=vault:secret/tiny/app#key?version=1"]);
    story.told(&["config", "set", "tiny", "--secret", "CREDENTIAL=credential:tiny.key", "--secret", "COMMAND_KEY=shop:tiny/door"]);
    story.told(&["config", "set", "tiny", "--secret", "AGE_KEY=age:secrets.env.age#AGE_KEY"]);

    // What nobody allowed is not asked for; a provider that is sealed says so. Nothing has changed by then.
    story.told(&["config", "set", "tiny", "--secret", "AGE_KEY=vault:secret/other/app#key"]);
    story.refused(&["deploy", "tiny", "1.0.0"], 1, &["the secret AGE_KEY of tiny", "`allow` in [secrets.vault]"]);
    story.told(&["config", "set", "tiny", "--secret", "AGE_KEY=age:secrets.env.age#AGE_KEY"]);
    bao.bao("operator seal");
    story.refused(&["deploy", "tiny", "1.0.0"], 1, &["the secret VAULT_KEY of tiny", "is sealed"]);
    let unsealing = bao.host.sh("journalctl -u bao -o cat | sed -n 's/^Unseal Key: //p'").unwrap();
    bao.bao(&format!("operator unseal {}", unsealing.trim()));

    // Each comes from where it is kept. Arguments of all processes are looked at meanwhile.
    host.sh("systemd-run --quiet --unit=arguments sh -c 'while :; do cat /proc/[0-9]*/cmdline; done 2>/dev/null | tr \\\\0 \\\\n > /root/arguments'").unwrap();
    let said = fleet.deploy("1.0.0").unwrap();
    story.app_has(planted);
    let configured = story.told(&["rollout", "explain", "r-3"]);
    println!("{said}\n{configured}");
    let file = host.sh("stat -c '%a %U' /var/lib/roadstead-agent/apps/tiny/secrets/*.env").unwrap();
    assert_eq!(file.trim(), "600 root");

    // A new version goes the way of a release, and the one before comes back with what ran with it.
    let rotated: Vec<String> = [vec![self::planted("VAULT_KEY")], planted[1..].to_vec()].concat();
    bao.put(&rotated[0]);
    story.app_has(planted);
    let next = "VAULT_KEY=vault:secret/tiny/app#key?version=2";
    story.told(&["config", "set", "tiny", "--secret", next, "--deploy", "--reason", "rotated"]);
    story.app_has(&rotated);
    story.told(&["rollback", "tiny", "--reason", "a story"]);
    story.app_has(planted);

    // A version that is destroyed is not had any more; a release that tells all of it tells nobody.
    bao.bao("kv destroy -versions=2 secret/tiny/app");
    story.refused(&["deploy", "tiny", "1.1.0"], 1, &["VAULT_KEY", "version 2 of it was destroyed"]);
    story.told(&["config", "set", "tiny", "--secret", "VAULT_KEY=vault:secret/tiny/app#key?version=1"]);
    let leaked = story.refused(&["deploy", "tiny", "1.1.0"], 1, &["[value of VAULT_KEY] [value of CREDENTIAL] [value of AGE_KEY]"]);
    story.app_has(planted);
    host.systemctl(&["stop", "arguments"]).unwrap();

    let everything: Vec<String> = [planted.clone(), vec![rotated[0].clone()]].concat();
    story.nowhere(&everything, &[said, configured, leaked]);
}

impl Story {
    /// None of the values is anywhere but where it belongs.
    fn nowhere(&self, values: &[String], told: &[String]) {
        let Self { fleet, .. } = self;
        let (host, desk, controller) = (fleet.host(), &fleet.fleet.desk, &fleet.fleet.controller);
        let newest = desk.json(&["rollout", "list"]).unwrap()[0]["rollout"].as_str().unwrap().to_owned();
        let mut texts = told.to_vec();
        for words in [
            &["rollout", "show", newest.as_str()][..],
            &["rollout", "show", newest.as_str(), "--output", "json"],
            &["rollout", "explain", newest.as_str()],
            &["config", "list", "tiny", "--output", "json"],
            &["config", "history", "tiny"],
            &["env", "show", "tiny", "--output", "json"],
            &["history", "--output", "json"],
            &["plan", "tiny", "current", "--output", "json"],
            &["status", "tiny"],
        ] {
            texts.push(self.told(words));
        }
        let bundle = format!("{newest}.tar.zst");
        self.told(&["support-bundle", "--rollout", &newest, "--out", &bundle]);
        let archive = fs::read(desk.folder().join(&bundle)).unwrap();
        texts.push(String::from_utf8_lossy(&zstd::decode_all(archive.as_slice()).unwrap()).into_owned());
        for rollout in 1..=10 {
            let logs = desk.try_roadstead(&["logs", &format!("r-{rollout}"), "--host", "tiny"]).unwrap();
            texts.push(format!("{}{}", logs.stdout, logs.stderr));
        }
        assert!(
            texts.iter().any(|text| text.contains("told [value of VAULT_KEY]") || text.contains("told [value of ")),
            "the hook's words are kept"
        );
        texts.push(host.journal("roadstead-agent").unwrap());
        texts.push(controller.sh("journalctl --no-pager -o cat").unwrap());
        texts.push(host.read("/root/arguments").unwrap());
        for value in values {
            if let Some(text) = texts.iter().find(|text| text.contains(value.as_str())) {
                let at = text.find(value.as_str()).unwrap_or(0);
                panic!("{value} has left its place: …{}…", &text[at.saturating_sub(200)..(at + 60).min(text.len())]);
            }
            let stored =
                controller.try_sh(&format!("grep -r --files-with-matches {value} /var/lib/roadstead-controller /etc/roadstead")).unwrap();
            assert_eq!(stored.code, Some(1), "{}", stored.stdout);
            // On the host: where the app's own are, where root keeps them, and in the app's own journal.
            let places = "/etc/roadstead /etc/systemd /run/systemd/system /run/roadstead /srv /tmp /var/tmp /var/lib/roadstead-agent";
            let held = host
                .try_sh(&format!("grep -r --files-with-matches {value} {places} | grep -v ^/var/lib/roadstead-agent/apps/tiny/secrets/"))
                .unwrap();
            assert_eq!(held.stdout.trim(), "");
        }
    }
}
