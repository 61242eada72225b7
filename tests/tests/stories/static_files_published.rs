//! Static files are in a bucket, or in the directory of a CDN, before any host moves to their release: without that nobody moves. What the
//! serving release asks for stays as it is until nobody serves it any more, and what was sent once is not sent again.

use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Moment, Project, Stopper};
use roadstead_tests::lab::{Execution, Host, wait_until};
use std::collections::BTreeMap;

use crate::SOON;
use crate::s3_server::{self, PROVIDER, SECRET};

/// Where the server of `web-1` keeps the bucket, and what is a CDN's directory on `web-2`.
const BUCKET: &str = "/srv/s3/cdn/staging/erp";
const DIRECTORY: &str = "/srv/cdn/erp";
/// A file whose content changes, and which pages ask for by its plain name, too.
const LAYOUT: &str = "css/layout.css";

#[test]
fn static_files_are_there_before_anybody_moves() {
    let stage = Stage::new();
    let (fleet, web) = (&stage.fleet, &stage.fleet.hosts[0]);
    let project = Project::of_erp(fleet, "1.0.0").unwrap();
    project.edit("static/css/layout.css", "body {", "/* of 1.3.0 */ body {").unwrap();
    project.release(fleet, "1.3.0").unwrap();

    // Nobody moves while one host cannot send them, and it is said what to do.
    let said = stage.refused("1.3.0");
    assert!(said.contains("publish: cannot look into /srv/cdn/erp: ") && said.contains("make the `directory` of [static.APP]"), "{said}");
    fleet.hosts[1].exec(&["mkdir", "-p", DIRECTORY]).unwrap();
    let said = stage.refused("1.3.0");
    assert!(said.contains("publish: cannot list s3://cdn/staging/erp/ at 127.0.0.1:9000"), "{said}");
    assert!(said.contains("`endpoint` under [static.APP.bucket]") && said.contains("no host moves"), "{said}");

    // With them, all are there before the first host moves.
    s3_server::start(web);
    let first = stage.deploy("1.3.0", || stage.serve("1.0.0"));
    println!("{first:?}");
    assert!(first["web-1"].contains(" static files at s3://cdn/staging/erp, ") && first["web-1"].contains(" sent ("), "{first:?}");
    assert!(
        first["web-2"].ends_with(" static files at /srv/cdn/erp, none had to be sent"),
        "{first:?}: it was when it was refused elsewhere"
    );
    handed_out_as_they_should(web);
    let modes = fleet.hosts[1].sh(&format!("find {DIRECTORY} -mindepth 1 -printf '%y %m %u\\n' | sort -u")).unwrap();
    assert_eq!(modes.trim(), "d 755 root\nf 644 root", "whoever hands them out can read them, and nothing else is there");

    // A file that keeps its name stays that of the serving release until nobody serves it; what is new is there.
    project.edit("static/css/layout.css", "of 1.3.0", "of 1.4.0").unwrap();
    project.write("static/new.txt", "new").unwrap();
    project.release(fleet, "1.4.0").unwrap();
    let second = stage.deploy("1.4.0", || {
        for (host, folder) in stage.places() {
            assert!(text(host, &format!("{folder}/{LAYOUT}")).contains("of 1.3.0"), "{folder}");
            assert_eq!(text(host, &format!("{folder}/new.txt")), "new");
        }
    });
    println!("{second:?}");
    for (host, folder) in stage.places() {
        let versions = host.sh(&format!("cat {folder}/css/layout.*.css | grep -o 'of 1...0' | sort -u")).unwrap();
        assert_eq!(versions.trim(), "of 1.3.0\nof 1.4.0", "pages of both find theirs in {folder}");
    }

    // Going back finds everything, and nothing is sent twice.
    fleet.desk.roadstead(&["rollback", "staging", "--reason", "a look"]).unwrap();
    stage.serve("1.3.0");
    stage.is_published("1.3.0");
    let again = stage.deploy("1.4.0", || {});
    assert!(again.values().all(|note| note.ends_with("none had to be sent")), "{again:?}");

    let doctor = web.try_exec(&["roadstead-agent", "doctor"]).unwrap().stdout;
    assert!(doctor.contains("erp: static files go to s3://cdn/staging/erp/"), "{doctor}");
    let found = web.sh("journalctl -o export | grep -ac canary-secret || true").unwrap();
    assert_eq!(found.trim(), "0", "the key is in the journal");
    assert!(!said.contains(SECRET));
}

/// `web-1` publishes to a bucket whose server does not run, `web-2` to a directory that is not there.
fn set_up(fleet: &Fleet) {
    let (first, second) = (&fleet.hosts[0], &fleet.hosts[1]);
    s3_server::install(first, "cdn");
    let settings = format!("{PROVIDER}[static.erp.bucket]\n{}", s3_server::section("cdn", "staging/erp"));
    first.write("/etc/roadstead/agent.toml", settings).unwrap();
    second.write("/etc/roadstead/agent.toml", format!("[static.erp]\ndirectory = \"{DIRECTORY}\"\n")).unwrap();
    let unit = "[Service]\nReadWritePaths=-/srv/cdn\n";
    second.sh("mkdir -p /srv/cdn").unwrap();
    second.write("/etc/systemd/system/roadstead-agent.service.d/cdn.conf", unit).unwrap();
}

/// What the server of the bucket notes of a file with a hash in its name, and of one without.
fn handed_out_as_they_should(web: &Host) {
    let noted = |pattern: &str| {
        let key = web.sh(&format!("cd /srv/s3/cdn && ls {pattern} | head -n 1")).unwrap();
        let named = format!("printf %s '{}' | base64 -w0 | tr '+/' '-_' | tr -d =", key.trim());
        web.sh(&format!("cat /srv/s3/.bucket-*.object-$({named}).metadata.json")).unwrap()
    };
    let hashed = noted("staging/erp/css/layout.*.css");
    assert!(hashed.contains("text/css; charset=utf-8") && hashed.contains("public, max-age=31536000, immutable"), "{hashed}");
    let plain = noted("staging/erp/logo.svg");
    assert!(plain.contains("image/svg+xml") && plain.contains("public, max-age=60"), "{plain}");
    assert_eq!(web.sh(&format!("ls {BUCKET} | grep -c json || true")).unwrap().trim(), "0", "the list of names is nobody's but the app's");
}

/// A fleet whose agents can be held.
struct Stage {
    fleet: Fleet,
    stoppers: Vec<Stopper>,
}

impl Stage {
    fn new() -> Self {
        let policy = "[strategy]\nkind = \"rolling\"\nbatch = 1\nbake = \"1s\"\n";
        let fleet = Fleet::new("published", &FleetOptions::default().hosts(2).policy(policy)).unwrap();
        fleet.deploy("1.0.0").unwrap();
        set_up(&fleet);
        let stoppers = fleet.hosts.iter().map(|host| Stopper::install(host).unwrap()).collect();
        fleet.wait_for_all().unwrap();
        Self { fleet, stoppers }
    }

    /// The hosts, and where each publishes.
    fn places(&self) -> [(&Host, &'static str); 2] {
        [(&self.fleet.hosts[0], BUCKET), (&self.fleet.hosts[1], DIRECTORY)]
    }

    fn serve(&self, version: &str) {
        assert_eq!(self.fleet.serving().unwrap(), [version, version]);
    }

    /// A release that nobody moves to. What is said.
    fn refused(&self, version: &str) -> String {
        let done = self.fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap();
        let said = format!("{}{}", done.stdout, done.stderr);
        println!("{said}");
        assert_eq!(done.code, Some(1), "{said}");
        self.serve("1.0.0");
        said
    }

    /// A release comes; the first host that is about to move is held, and everything has to be published then. What the step said on each.
    fn deploy(&self, version: &str, look: impl FnOnce()) -> BTreeMap<String, String> {
        let agents: Vec<_> = self.fleet.hosts.iter().map(|host| host.main_process("roadstead-agent").unwrap()).collect();
        let moving = Moment { record: "header".to_owned(), step: "activate".to_owned() };
        self.stoppers.iter().for_each(|stopper| stopper.arm(&moving).unwrap());
        let mut command = self.fleet.desk.begin(&["deploy", "staging", version]).unwrap();
        let mut over = false;
        wait_until("a host to be about to move", SOON * 3, || {
            over = !matches!(command.try_wait(), Ok(None));
            over || agents.iter().any(|agent| agent.is_stopped())
        })
        .unwrap();
        if over {
            panic!("it is over: {:?}", Execution::of(&command.wait_with_output().unwrap()));
        }
        for (host, folder) in self.places() {
            assert_eq!(differing(host, folder, version, "test -f"), "", "{folder} lacks files of {version}");
        }
        look();
        self.stoppers.iter().for_each(|stopper| stopper.disarm().unwrap());
        agents.iter().for_each(|agent| agent.go_on());
        let done = Execution::of(&command.wait_with_output().unwrap());
        assert_eq!(done.code, Some(0), "{done:?}");
        self.serve(version);
        self.is_published(version);
        self.notes()
    }

    /// Whether everything is as the release has it, which everybody serves.
    fn is_published(&self, version: &str) {
        for (host, folder) in self.places() {
            assert_eq!(differing(host, folder, version, "cmp -s $path"), "", "{folder} has other files than {version}");
        }
    }

    fn notes(&self) -> BTreeMap<String, String> {
        let rollout = Journals::of(&self.fleet.hosts[0]).newest_rollout().unwrap();
        let shown = self.fleet.rollout(&rollout).unwrap();
        let note = |host: &serde_json::Value| {
            let step = host["steps"].as_array().unwrap().iter().find(|step| step["step"] == "publish").cloned().unwrap_or_default();
            (host["host"].as_str().unwrap_or_default().to_owned(), step["note"].as_str().unwrap_or_default().to_owned())
        };
        shown["hosts"].as_array().unwrap().iter().map(note).collect()
    }
}

/// The collected files of a release for which a comparison with what is published fails.
fn differing(host: &Host, folder: &str, version: &str, compared: &str) -> String {
    let script = format!(
        "cd /srv/roadstead/erp/collected/{version}-* && find . -type f ! -name staticfiles.json | while read -r path; do {compared} {folder}/$path || \
         echo $path; done"
    );
    host.sh(&script).unwrap()
}

fn text(host: &Host, path: &str) -> String {
    host.read(path).unwrap()
}
