//! The cells of the kill matrix: every step, before it, during it and after it, and who is killed or cut off then.

use super::rows::{self, Helper, Row, Scenario};
use roadstead_model::StepName;
use roadstead_tests::fleet::Moment;
use std::fmt;

/// What is done with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Run(StepName),
    Undo(StepName),
}

/// When the kill comes: between the records of the journal that part the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    Before,
    During,
    After,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Agent,
    /// The process that works for the step.
    Helper,
    Controller,
    /// The whole host.
    Power,
    /// What one of host and controller says to the other, until the controller has noticed.
    Link(Way),
}

/// Whose packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Both,
    TheHosts,
    TheControllers,
}

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) act: Act,
    pub(super) when: When,
    pub(super) victim: Victim,
}

impl Cell {
    pub(super) fn row(self) -> Row {
        match self.act {
            Act::Run(step) => rows::running(step),
            Act::Undo(step) => rows::undoing(step).unwrap(),
        }
    }

    pub(super) fn scenario(self) -> Scenario {
        self.row().scenario
    }

    /// The newest record of the journal when the kill has to land.
    pub(super) fn moment(self) -> Moment {
        let (record, step) = match (self.act, self.when) {
            (Act::Run(step), When::Before) => rows::before(step),
            (Act::Run(step), When::During) => ("started", step.to_string()),
            (Act::Run(step), When::After) => ("succeeded", step.to_string()),
            (Act::Undo(_), When::Before) => ("failed", rows::failing(self.scenario()).unwrap().to_string()),
            (Act::Undo(step), When::During) => ("undo-started", step.to_string()),
            (Act::Undo(step), When::After) => ("undo-finished", step.to_string()),
        };
        Moment { record: record.to_owned(), step }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            Act::Run(step) => format!("{step}"),
            Act::Undo(step) => format!("undoing {step}"),
        };
        match self.victim {
            Victim::Link(way) => write!(f, "link cut ({way:?} packets) {:?} {act}", self.when),
            victim => write!(f, "{victim:?} killed {:?} {act}", self.when),
        }
    }
}

/// Everything that is done with steps.
fn acts() -> Vec<Act> {
    let undone = StepName::ALL.into_iter().filter(|step| rows::undoing(*step).is_some());
    StepName::ALL.into_iter().map(Act::Run).chain(undone.map(Act::Undo)).collect()
}

/// Who can be hit at any moment.
const VICTIMS: [Victim; 6] = [
    Victim::Agent,
    Victim::Link(Way::Both),
    Victim::Controller,
    Victim::Link(Way::TheHosts),
    Victim::Power,
    Victim::Link(Way::TheControllers),
];

/// Every kill of one act. Who works for a step is there while it runs, not before and not after.
fn of_act(act: Act) -> Vec<Cell> {
    let mut cells = Vec::new();
    for when in [When::Before, When::During, When::After] {
        cells.extend(VICTIMS.map(|victim| Cell { act, when, victim }));
    }
    let helped = Cell { act, when: When::During, victim: Victim::Helper };
    if !matches!(helped.row().helper, Helper::None) {
        cells.push(helped);
    }
    cells
}

/// The whole matrix.
pub(super) fn all() -> Vec<Cell> {
    acts().into_iter().flat_map(of_act).collect()
}

/// An act's turn comes once in so many days.
const TURN: usize = 3;

/// The kills of a day: every third act, one kill each, others on the next days.
pub(super) fn of_day(day: usize) -> Vec<Cell> {
    let acts = acts().into_iter().enumerate().filter(|(index, _)| (index + day).is_multiple_of(TURN));
    acts.filter_map(|(index, act)| {
        let cells = of_act(act);
        // neighbours are at different places of their lists
        cells.get((5 * index + day / TURN) % cells.len()).copied()
    })
    .collect()
}

#[test]
fn the_days_cover_the_matrix() {
    let whole: std::collections::BTreeSet<Cell> = all().into_iter().collect();
    assert_eq!(whole.len(), all().len(), "no kill is listed twice");
    let seen: std::collections::BTreeSet<Cell> = (20_000..20_060).flat_map(of_day).collect();
    let missing: Vec<String> = whole.difference(&seen).map(Cell::to_string).collect();
    assert!(missing.is_empty(), "not within two months: {missing:?}");
    let victims: std::collections::BTreeSet<Victim> = of_day(20_000).iter().map(|cell| cell.victim).collect();
    assert!(victims.len() >= 3, "{victims:?}");
}
