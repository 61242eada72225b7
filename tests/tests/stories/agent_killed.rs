//! The agent is killed in the middle of every step. It comes back, finds out where it stood, and the rollout ends as it would have.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Moment, strays};
use roadstead_tests::lab::{Execution, Host, wait_until};
use roadstead_tests::load::Load;
use std::collections::BTreeSet;
use std::time::Duration;

const STEPS: [&str; 14] = [
    "preflight",
    "prune",
    "fetch",
    "verify",
    "unpack",
    "venv",
    "configure",
    "collectstatic",
    "migrate",
    "candidate",
    "cutover",
    "proof",
    "health",
    "confirm",
];

#[test]
fn a_kill_in_the_middle_of_any_step_changes_nothing_but_the_time() {
    let policy = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
    let fleet = Fleet::new("killed", &FleetOptions::default().hosts(2).policy(policy)).unwrap();
    for version in ["1.0.0", "1.1.0", "1.2.1"] {
        fleet.push(version).unwrap();
    }
    let killer = Killer::of(&fleet.hosts[0]);

    // on an empty host: the steps that take long
    let mut long: BTreeSet<Moment> = ["fetch", "unpack", "venv", "migrate"].map(Moment::within).into();
    killer.kill_during(&fleet, &["deploy", "staging", "1.0.0"], &mut long);
    assert!(long.is_empty(), "not every long step was hit: {long:?}");
    assert_whole(&fleet, "1.0.0");
    let load = Load::on(format!("{}:80", killer.host.ip())).path("/healthz").pause(Duration::from_millis(5)).start(&fleet.client());
    load.wait_for_release("1.0.0", SOON).unwrap();

    // under load: every step forward, and the way back; a step that was over before its kill came has another chance
    let mut forward: BTreeSet<Moment> = STEPS.map(Moment::within).into();
    let mut back: BTreeSet<Moment> = ["revert", "settle"].map(Moment::within).into();
    for _round in 0..4 {
        if forward.is_empty() && back.is_empty() {
            break;
        }
        killer.kill_during(&fleet, &["deploy", "staging", "1.1.0"], &mut forward);
        assert_whole(&fleet, "1.1.0");
        killer.kill_during(&fleet, &["rollback", "staging", "--reason", "a story"], &mut back);
        assert_whole(&fleet, "1.0.0");
    }
    assert!(forward.is_empty() && back.is_empty(), "never hit within: {forward:?} {back:?}");

    // a release that fails its checks: killed while that is undone
    let mut undo: BTreeSet<Moment> = [Moment::undoing("candidate")].into();
    let done = killer.kill_while(&fleet, &["deploy", "staging", "1.2.1"], &mut undo, |_| {});
    assert_eq!(done.code, Some(1), "{}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("/api/products/"), "the operator reads why: {}", done.stderr);
    assert!(undo.is_empty(), "not hit: {undo:?}");
    assert_whole(&fleet, "1.0.0");

    // an operator's abort after the cutover: killed while that is undone
    let mut undo: BTreeSet<Moment> = [Moment::undoing("cutover")].into();
    let mut abort = None;
    let done = killer.kill_while(&fleet, &["deploy", "staging", "1.1.0"], &mut undo, |moment| {
        if abort.is_none() && *moment == Moment::within("health") {
            let rollout = killer.journals.newest_rollout().unwrap();
            abort = Some(fleet.desk.begin(&["rollout", "abort", &rollout, "--reason", "a story", "--no-wait"]).unwrap());
        }
    });
    assert!(abort.unwrap().wait().unwrap().success());
    assert_eq!(done.code, Some(1), "{}{}", done.stdout, done.stderr);
    assert!(undo.is_empty(), "not hit: {undo:?}");
    assert_whole(&fleet, "1.0.0");

    // and systemd executes itself anew at every step, as an upgrade of its package makes it do
    let mut seen = BTreeSet::new();
    let done = killer.kill_while(&fleet, &["deploy", "staging", "1.1.0"], &mut BTreeSet::new(), |moment| {
        if moment.record == "started" && seen.insert(moment.clone()) {
            killer.host.systemctl(&["daemon-reexec"]).unwrap();
        }
    });
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    println!("systemd was executed anew at {} steps", seen.len());
    assert_whole(&fleet, "1.1.0");

    // between two calls to systemd, which exchange what starts at boot: it knows nothing any more of the release to go back to
    let forgotten = killer.host.sh("cd /etc/roadstead/units && systemctl disable erp-*@1.0.0-*.service 2>&1").unwrap();
    assert!(forgotten.contains("erp-web@1.0.0-"), "{forgotten}");
    fleet.desk.roadstead(&["rollback", "staging", "--reason", "a story"]).unwrap();
    assert_whole(&fleet, "1.0.0");

    load.wait_for_more(100, SOON).unwrap();
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
}

struct Killer {
    host: Host,
    journals: Journals,
}

impl Killer {
    fn of(host: &Host) -> Self {
        Self { host: host.clone(), journals: Journals::of(host) }
    }

    /// Runs a command that succeeds, and kills the agent within each wanted moment that comes by.
    fn kill_during(&self, fleet: &Fleet, words: &[&str], wanted: &mut BTreeSet<Moment>) {
        let done = self.kill_while(fleet, words, wanted, |_| {});
        assert!(done.success(), "{words:?}: {}{}", done.stdout, done.stderr);
    }

    /// Runs a command to its end. Moments in which a kill landed are no longer wanted after it.
    fn kill_while(&self, fleet: &Fleet, words: &[&str], wanted: &mut BTreeSet<Moment>, mut seen: impl FnMut(&Moment)) -> Execution {
        let mut command = fleet.desk.begin(words).unwrap();
        let mut agent = self.host.main_process("roadstead-agent").unwrap();
        loop {
            let news = |moment: &Moment| {
                seen(moment);
                wanted.contains(moment)
            };
            let moment = self.journals.wait_for(news, || !matches!(command.try_wait(), Ok(None)));
            let Some(moment) = moment else { break };
            agent.kill();
            wait_until("the agent to be dead", SOON, || !agent.is_alive()).unwrap();
            let landed = self.journals.last().as_ref() == Some(&moment);
            println!("{words:?}: killed within {moment}: {}", if landed { "hit" } else { "late" });
            if landed {
                wanted.remove(&moment);
            }
            let mut next = None;
            wait_until("the agent to be back", SOON, || {
                next = self.host.main_process("roadstead-agent").ok();
                next.is_some()
            })
            .unwrap();
            agent = next.unwrap();
        }
        Execution::of(&command.wait_with_output().unwrap())
    }
}

/// Both hosts serve the version from the same files, and nothing is left of what was interrupted.
fn assert_whole(fleet: &Fleet, version: &str) {
    assert_eq!(fleet.serving().unwrap(), [version, version]);
    let [killed, spared] = &fleet.hosts[..] else { panic!("two hosts") };
    let current = killed.sh("readlink /srv/roadstead/erp/current").unwrap();
    assert!(current.starts_with(&format!("releases/{version}-")), "{current}");
    assert_eq!(killed.sh(LISTING).unwrap(), spared.sh(LISTING).unwrap(), "both hosts have the same files");
    assert_eq!(killed.sh("find /srv/roadstead/erp -name '.new-*'").unwrap(), "", "nothing half made is left");
    let strays = || strays(killed, &format!("{version}-")).unwrap();
    // workers end what they have before they go
    let gone = wait_until("old instances and transient units to be gone", SOON, || strays().is_empty());
    assert!(gone.is_ok(), "{:?}", strays());
}

/// Every file of the good releases and of the virtual environments: kind, mode, target, content. A bad release goes at once where the host
/// failed by itself, and with the next preparation where it was called back.
const LISTING: &str = "cd /srv/roadstead/erp && find releases/1.[01].0-* venvs -printf '%p %y %m %l\\n' | sort && \
    find releases/1.[01].0-* venvs -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
