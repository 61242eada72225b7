//! A host that is changed behind the product's back: every change is named within a look, and repaired when somebody wants that, while
//! nobody who uses the host notices.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::Load;
use std::time::Duration;

const REPORT: &str = "[strategy]\nbake = \"1s\"\n";
const REPAIR: &str = "drift = \"repair\"\n[strategy]\nbake = \"1s\"\n";
const TREE: &str = "/srv/roadstead/erp/current";
/// Two looks, however busy the machine is.
const LOOKS: Duration = Duration::from_secs(180);
/// A rollout of one host, and a look after it.
const REPAIRED: Duration = Duration::from_secs(300);

#[test]
fn what_is_changed_by_hand_is_named_and_repaired_and_no_request_fails() {
    let fleet = Fleet::new("drift", &FleetOptions::default().policy(REPORT)).unwrap();
    let host = &fleet.hosts[0];
    host.write("/etc/roadstead/agent.toml", "drift-every = \"10s\"\n").unwrap();
    host.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    fleet.deploy("1.0.0").unwrap();
    fleet.deploy("1.1.0").unwrap();
    wait_until("a look that finds nothing", LOOKS, || findings(&fleet).is_some_and(|found| found.is_empty())).unwrap();

    let load = Load::on(format!("{}:80", host.ip())).path("/healthz").clients(2).pause(Duration::from_millis(20)).start(&fleet.client());
    load.wait_for_more(50, SOON).unwrap();

    // every way at once; the running web instance notices none of it
    let changes = change_all(host);
    for (part, how, place) in &changes {
        let named = || findings(&fleet).is_some_and(|found| found.iter().any(|f| f.0 == *part && f.1 == *how && f.2.contains(place)));
        wait_until(&format!("{part} {how} {place} to be named"), LOOKS, named)
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", findings(&fleet), host.journal("roadstead-agent").unwrap()));
    }
    let told = fleet.desk.history("host-drifted").unwrap();
    assert!(!told.is_empty() && told.iter().all(|(_, text)| text.starts_with("web-1: erp: ")), "{told:?}");
    let status = fleet.desk.roadstead(&["status"]).unwrap();
    assert!(status.contains("level, but") && status.contains("web-1 was changed since erp was deployed"), "{status}");
    let on_host = host.sh("roadstead-agent status").unwrap();
    assert!(on_host.contains("added.py should not be there"), "{on_host}");
    assert_eq!(fleet.desk.history("level-started").unwrap().len(), 0, "nothing is repaired that nobody wants repaired");

    // by hand
    fleet.desk.roadstead(&["host", "repair", "web-1", "--reason", "a story"]).unwrap();
    is_level_again(&fleet, host);
    for (_, text) in fleet.desk.history("host-repair-asked").unwrap() {
        assert!(text.contains("a story"), "{text}");
    }
    load.wait_for_more(50, SOON).unwrap();
    let own = findings(&fleet).unwrap();
    assert!(own.iter().all(|found| found.1 == "own") && own.len() == 1, "an operator's drop-in stays: {own:?}");

    // by itself
    fleet.apply(REPAIR).unwrap();
    host.sh(&format!("touch {TREE}/config/again.py")).unwrap();
    let gone = |host: &Host| host.try_sh(&format!("test -e {TREE}/config/again.py")).is_ok_and(|done| !done.success());
    host.wait_until("the file to be gone", REPAIRED, gone).unwrap();
    is_level_again(&fleet, host);

    // the link: a host that serves something else is brought level whatever the policy says, and it is told what was wrong
    let serving = host.sh(&format!("readlink {TREE}")).unwrap();
    let other = host.sh("ls -d /srv/roadstead/erp/releases/1.0.0-*").unwrap();
    host.sh(&format!("ln -sfn releases/$(basename {}) {TREE}", other.trim())).unwrap();
    let back = |host: &Host| host.sh(&format!("readlink {TREE}")).is_ok_and(|now| now == serving);
    host.wait_until("current to be what was deployed", REPAIRED, back).unwrap();
    let said = fleet.desk.history("host-drifted").unwrap();
    assert!(said.iter().any(|(_, text)| text.contains("current leads elsewhere")), "{said:?}");
    is_level_again(&fleet, host);

    load.wait_for_more(50, SOON).unwrap();
    let report = load.stop().unwrap();
    println!("{report}");
    assert_eq!(report.failed(), 0, "{report}");
}

/// What the host's last look found: part, how it differs, where; nothing while nobody has looked.
fn findings(fleet: &Fleet) -> Option<Vec<(String, String, String)>> {
    let shown = fleet.desk.json(&["host", "show", "web-1"]).ok()?;
    let text = |finding: &serde_json::Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let found = shown["apps"][0]["drift"]["findings"].as_array()?;
    Some(found.iter().map(|f| (text(f, "part"), text(f, "how"), text(f, "place"))).collect())
}

/// The last rollout is done, and a look after it found nothing but an operator's own.
fn is_level_again(fleet: &Fleet, host: &Host) {
    let level = || {
        let done = fleet.desk.json(&["rollout", "list", "--limit", "1"]).is_ok_and(|list| list[0]["phase"] == "done");
        done && findings(fleet).is_some_and(|found| found.iter().all(|finding| finding.1 == "own"))
    };
    wait_until("the host to be as it was deployed", REPAIRED, level).unwrap_or_else(|error| {
        let rollouts = fleet.desk.roadstead(&["rollout", "list"]).unwrap_or_default();
        panic!("{error}: {:?}\n{rollouts}\n{}", findings(fleet), host.journal("roadstead-agent").unwrap_or_default())
    });
    let again = fleet.desk.history("host-level-again").unwrap();
    assert!(!again.is_empty());
}

/// Changes the host in each way; what has to be named.
fn change_all(host: &Host) -> Vec<(&'static str, &'static str, &'static str)> {
    let units = "for unit in web worker beat; do eval $unit=$(basename $(ls /etc/roadstead/units/erp-$unit@1.1.0*)); done";
    let script = format!(
        "set -e
        {units}
        cd {TREE}/
        # into a file that shares its bytes with the store
        echo '# by hand' >> config/asgi.py
        # an editor's way, and of the same size
        sed -i 's/DJANGO/DJANGI/' manage.py
        rm config/wsgi.py
        touch config/added.py
        chmod 666 config/urls.py
        rm -r $(ls -d .venv/lib/python3*/site-packages/*.dist-info | head -1)
        echo '# by hand' >> /etc/roadstead/units/$worker
        mkdir -p /etc/systemd/system/$web.d
        printf '[Service]\\nNice=1\\n' > /etc/systemd/system/$web.d/override.conf
        systemctl stop $beat
        ln -sf /dev/null /etc/systemd/system/$beat
        systemctl daemon-reload
        systemctl kill --signal KILL $worker
        systemctl disable $worker"
    );
    host.sh(&script).unwrap();
    vec![
        ("tree", "changed", "config/asgi.py"),
        ("tree", "changed", "manage.py"),
        ("tree", "missing", "config/wsgi.py"),
        ("tree", "added", "config/added.py"),
        ("tree", "rights", "config/urls.py"),
        ("packages", "missing", ".dist-info"),
        ("unit", "changed", "erp-worker@"),
        ("unit", "disabled", "erp-worker@"),
        ("unit", "masked", "erp-beat@"),
        ("process", "down", "erp-beat@"),
        ("unit", "own", "override.conf"),
    ]
}
