//! One kill: what leads to its moment, the kill, and that everything is up again.

use super::cells::{Act, Cell, Victim, Way, When};
use super::ground::{Ground, OLD};
use super::rows::{Helper, Scenario};
use crate::SOON;
use roadstead_tests::fleet::Moment;
use roadstead_tests::lab::{Execution, Process, wait_until};
use std::process::Child;
use std::time::Duration;

const AGENT: &str = "roadstead-agent";
const CONTROLLER: &str = "roadstead-controller";

/// What an attempt at a kill came to.
pub(super) struct Attempt {
    /// Whether the kill landed in its moment.
    pub(super) landed: bool,
    /// How the operator's command ended.
    pub(super) done: Execution,
}

/// An operator's command under way, and the abort that follows it where the scenario wants one.
struct Underway {
    command: Child,
    abort: Option<Child>,
}

impl Ground {
    /// Runs the cell's scenario to its end, with the kill in it. `number` counts the attempts from 0.
    pub(super) fn attempt(&mut self, cell: Cell, number: u32) -> Attempt {
        let words = self.prepare(cell);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let agent = self.host.main_process(AGENT).unwrap();
        if cell.victim != Victim::Helper {
            self.stopper.arm(&cell.moment()).unwrap();
        }
        let mut underway = Underway { command: self.fleet.desk.begin(&words).unwrap(), abort: None };
        let landed = match cell.victim {
            Victim::Helper => self.kill_helper(cell, &mut underway),
            Victim::Agent | Victim::Controller | Victim::Power | Victim::Link(_) => {
                let stopped = self.stopper.wait(agent, || self.is_in_vain(cell, &mut underway));
                self.stopper.disarm().unwrap();
                stopped && self.kill(cell, agent, number)
            }
        };
        let done = Execution::of(&underway.command.wait_with_output().unwrap());
        if let Some(mut abort) = underway.abort {
            assert!(abort.wait().unwrap().success(), "the abort was refused");
        }
        Attempt { landed, done }
    }

    /// Whether the command is over. On the way the scenario's abort is given when its time has come.
    fn is_in_vain(&self, cell: Cell, underway: &mut Underway) -> bool {
        let due = cell.scenario() == Scenario::Abort && underway.abort.is_none();
        if due && self.journals.last() == Some(Moment::within("health")) {
            let rollout = self.journals.newest_rollout().unwrap();
            let words = ["rollout", "abort", &rollout, "--reason", "a kill", "--no-wait"];
            underway.abort = Some(self.fleet.desk.begin(&words).unwrap());
        }
        !matches!(underway.command.try_wait(), Ok(None))
    }

    /// Kills while the agent stands still in the moment, and waits until who was killed is back. Whether it was in time.
    fn kill(&self, cell: Cell, agent: Process, number: u32) -> bool {
        // In the middle of a step: somewhere in the time that it takes, earlier with each attempt that came too late.
        if cell.when == When::During && matches!(cell.victim, Victim::Agent | Victim::Power) {
            agent.go_on();
            std::thread::sleep(self.time_of(cell) / 2_u32.saturating_pow(number + 1));
            agent.stop();
            wait_until("the agent to stand still", SOON, || agent.is_stopped() || !agent.is_alive()).unwrap();
        }
        let moment = Some(cell.moment());
        match cell.victim {
            Victim::Agent => {
                agent.kill();
                wait_until("the agent to be dead", SOON, || !agent.is_alive()).unwrap();
                let landed = self.journals.last() == moment;
                let other = || self.host.main_process(AGENT).is_ok_and(|next| next != agent);
                wait_until("the agent to be back", SOON, other).unwrap();
                landed
            }
            Victim::Controller => {
                let controller = self.fleet.controller.main_process(CONTROLLER).unwrap();
                controller.kill();
                wait_until("the controller to be dead", SOON, || !controller.is_alive()).unwrap();
                agent.go_on();
                let other = || self.fleet.controller.main_process(CONTROLLER).is_ok_and(|next| next != controller);
                wait_until("the controller to be back", SOON, other).unwrap();
                true
            }
            Victim::Power => {
                self.host.power_cut().unwrap();
                let landed = self.journals.last() == moment;
                self.host.boot().unwrap();
                landed
            }
            Victim::Link(way) => {
                self.cut(way);
                agent.go_on();
                let away = || self.fleet.connected().is_ok_and(|connected| connected == 0);
                wait_until("the controller to notice that the host is away", SOON, away).unwrap();
                self.heal(way);
                true
            }
            Victim::Helper => false,
        }
    }

    fn cut(&self, way: Way) {
        let (host, controller) = (&self.host, &self.fleet.controller);
        match way {
            Way::Both => host.cut_from(controller).unwrap(),
            Way::TheHosts => host.cut_to(controller).unwrap(),
            Way::TheControllers => controller.cut_to(host).unwrap(),
        }
    }

    fn heal(&self, way: Way) {
        let (host, controller) = (&self.host, &self.fleet.controller);
        match way {
            Way::Both => host.heal_from(controller).unwrap(),
            Way::TheHosts => host.heal_to(controller).unwrap(),
            Way::TheControllers => controller.heal_to(host).unwrap(),
        }
    }

    /// Kills the process that works for the step, as soon as there is one and while the step runs.
    fn kill_helper(&self, cell: Cell, underway: &mut Underway) -> bool {
        let unit = match cell.row().helper {
            Helper::None => return false,
            Helper::Command(name) => format!("roadstead-erp{}{name}-*.service", if name.starts_with('.') { "" } else { "-" }),
            Helper::New(service) => format!("erp-{service}@{}-*.service", self.new_version(cell.scenario())),
            Helper::Old(service) => format!("erp-{service}@{OLD}-*.service"),
        };
        let moment = cell.moment();
        if self.journals.wait_for(|seen| *seen == moment, || self.is_in_vain(cell, underway)).is_none() {
            return false;
        }
        while self.journals.last().as_ref() == Some(&moment) {
            if let Ok(process) = self.host.main_process(&unit) {
                process.kill();
                return self.journals.last().as_ref() == Some(&moment);
            }
        }
        false
    }

    /// How long the step takes that the cell is about.
    fn time_of(&self, cell: Cell) -> Duration {
        let (Act::Run(step) | Act::Undo(step)) = cell.act;
        self.times.get(step.as_str()).copied().unwrap_or_default()
    }
}
