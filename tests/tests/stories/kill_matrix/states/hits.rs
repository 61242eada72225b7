//! The kill, and that whoever was killed or cut off is back.

use super::cells::Victim;
use super::holds::Held;
use super::street::Street;
use super::users::Seen;
use crate::SOON;
use roadstead_tests::lab::{Host, wait_until};

pub(super) const AGENT: &str = "roadstead-agent";
const CONTROLLER: &str = "roadstead-controller";

impl Street {
    pub(super) fn hit(&self, victim: Victim, held: &Held, seen: &mut Seen) {
        match victim {
            Victim::Controller => {
                kill(&self.fleet.controller, CONTROLLER);
                wait_until("the controller to answer again", SOON, || self.fleet.rollout(&held.rollout).is_ok()).unwrap();
            }
            Victim::Agent => kill(&held.host, AGENT),
            Victim::BalancersAgent => kill(self.balancer(), AGENT),
            Victim::Power => self.cut_power(&held.host, seen),
            Victim::Link => self.cut_off(&held.host, || {}),
            Victim::BalancersLink => {
                let balancer = self.balancer();
                let agent = balancer.main_process(AGENT).unwrap();
                // Where its silence is what holds the rollout, it is the cut from now on.
                self.cut_off(balancer, || agent.go_on());
            }
        }
    }

    /// What fails while the host has no power, and until it is up again, is nobody's fault.
    fn cut_power(&self, host: &Host, seen: &mut Seen) {
        let before = self.users.failed();
        host.power_cut().unwrap();
        host.boot().unwrap();
        let answers = || self.fleet.ask(host, "/healthz").is_ok_and(|(status, _)| status == 200);
        wait_until("the host to answer again", SOON, answers).unwrap();
        seen.in_the_moment = Some(self.users.failed() - before);
    }

    /// Until the controller has noticed, and then until it hears the host again, but for one whose agent stands still.
    fn cut_off(&self, host: &Host, cut: impl FnOnce()) {
        host.cut_from(&self.fleet.controller).unwrap();
        cut();
        wait_until("the controller to notice", SOON, || !self.hears(host)).unwrap();
        host.heal_from(&self.fleet.controller).unwrap();
        wait_until("the controller to hear it again", SOON * 2, || self.hears(host)).unwrap();
    }

    pub(super) fn hears(&self, host: &Host) -> bool {
        let hosts = self.fleet.desk.json(&["host", "list"]).unwrap_or_default();
        hosts.as_array().into_iter().flatten().any(|shown| shown["host"] == host.name() && shown["state"] == "connected")
    }
}

/// Kills the unit's process, and waits for the next one.
fn kill(host: &Host, unit: &str) {
    let process = host.main_process(unit).unwrap();
    process.kill();
    wait_until(&format!("{unit} to be dead"), SOON, || !process.is_alive()).unwrap();
    let other = || host.main_process(unit).is_ok_and(|next| next != process);
    wait_until(&format!("{unit} to be back"), SOON, other).unwrap();
}
