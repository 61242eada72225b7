//! What applying files changes at the controller: foreseen, shown, done.

use roadstead_proto::v1::{
    ApplyEnvironmentRequest, ApplyEnvironmentResponse, Environment, ListEnvironmentsRequest, RemoveEnvironmentRequest,
};
use serde::Serialize;
use std::collections::BTreeSet;

use super::Declared;
use super::files::mistaken;
use crate::failure::{Failure, Kind, Result};
use crate::output::{Output, count};
use crate::remote::Controller;

/// What becomes of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// It was not there.
    Created,
    /// Some of it is different.
    Changed,
    /// Nothing is different.
    Unchanged,
    /// No file names it.
    Removed,
    /// No file names it, and it cannot be removed now.
    NotRemovable,
}

/// What becomes of one environment of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    environment: String,
    app: String,
    /// The effect.
    #[serde(rename = "result")]
    effect: Effect,
    /// Field by field; why, where it cannot be removed.
    changes: Vec<String>,
    warnings: Vec<String>,
    /// What to do about one that cannot be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Whether it is told before or after it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing is done.
    Foreseen,
    /// It was done.
    Done,
}

impl Change {
    /// Whether something is, or would be, different.
    pub(crate) fn differs(&self) -> bool {
        self.effect != Effect::Unchanged
    }

    fn goes(&self) -> bool {
        matches!(self.effect, Effect::Removed | Effect::NotRemovable)
    }

    fn name(&self) -> String {
        format!("{} of {}", self.environment, self.app)
    }

    /// The environment and what becomes of it, then each field on its line.
    pub(crate) fn text(&self, mode: Mode) -> String {
        let words = match (mode, self.effect) {
            (_, Effect::Unchanged) => "unchanged",
            (_, Effect::NotRemovable) => "cannot be removed",
            (Mode::Done, Effect::Created) => "created",
            (Mode::Done, Effect::Changed) => "changed",
            (Mode::Done, Effect::Removed) => "removed",
            (Mode::Foreseen, Effect::Created) => "would be created",
            (Mode::Foreseen, Effect::Changed) => "would change",
            (Mode::Foreseen, Effect::Removed) => "would be removed",
        };
        let head = format!("{}: {words}", self.name());
        let lines = self.changes.iter().map(|change| format!("  {change}"));
        let hint = self.hint.iter().map(|hint| format!("  Hint: {hint}"));
        std::iter::once(head).chain(lines).chain(hint).collect::<Vec<_>>().join("\n")
    }

    /// Says what works but deserves a look.
    pub(crate) fn warn(&self, output: &Output) {
        for warning in &self.warnings {
            output.warn(format!("{}: {warning}", self.name()));
        }
    }

    fn of_answer(declared: &Declared, answer: ApplyEnvironmentResponse) -> Self {
        let effect = match answer.result.as_str() {
            "created" => Effect::Created,
            "unchanged" => Effect::Unchanged,
            _ => Effect::Changed,
        };
        let (environment, app) = (declared.spec.name.to_string(), declared.spec.app.to_string());
        Self { environment, app, effect, changes: answer.changes, warnings: answer.warnings, hint: None }
    }

    fn of_removal(environment: &Environment, refused: Option<Failure>) -> Self {
        let (environment, app) = (environment.name.clone(), environment.app.clone());
        let new = Self { environment, app, effect: Effect::Removed, changes: Vec::new(), warnings: Vec::new(), hint: None };
        let Some(Failure { summary, hint, .. }) = refused else { return new };
        // The environment is named beside it.
        let why = summary.strip_prefix(&format!("{} is not removed: ", new.name())).unwrap_or(&summary).to_owned();
        Self { effect: Effect::NotRemovable, changes: vec![why], hint, ..new }
    }
}

/// What applying the files would do: the controller looks at each, and changes nothing. Environments that no file names are looked at
/// when they are to be removed.
///
/// # Errors
/// All that the controller finds wrong with the files at once, or that it cannot be asked.
pub(crate) fn foresee(controller: &Controller, declared: &[Declared], prune: bool) -> Result<Vec<Change>> {
    let (mut changes, mut mistakes) = (Vec::new(), Vec::new());
    for one in declared {
        let request = request(one)?;
        match controller.call(async |mut client| Ok(client.diff_environment(request).await?.into_inner())) {
            Ok(answer) => changes.push(Change::of_answer(one, answer)),
            Err(failure) if failure.kind == Kind::Usage => mistakes.push(format!("{}: {}", one.file.display(), failure.summary)),
            Err(failure) => return Err(failure),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistaken(&mistakes));
    }
    if prune {
        let request = ListEnvironmentsRequest::default();
        let known = controller.call(async |mut client| Ok(client.list_environments(request).await?.into_inner().environments))?;
        for environment in undeclared(known, declared) {
            let refused = match remove(controller, &environment.name, &environment.app, true) {
                Ok(()) => None,
                Err(failure) if failure.kind == Kind::Refused => Some(failure),
                Err(failure) => return Err(failure),
            };
            changes.push(Change::of_removal(&environment, refused));
        }
    }
    Ok(changes)
}

/// Environments that no file names.
fn undeclared(mut known: Vec<Environment>, declared: &[Declared]) -> Vec<Environment> {
    let named: BTreeSet<_> = declared.iter().map(|one| (one.spec.name.as_str(), one.spec.app.as_str())).collect();
    known.retain(|environment| !named.contains(&(environment.name.as_str(), environment.app.as_str())));
    known
}

/// Refuses everything when one of the environments that are to go cannot go, and asks before those that can.
///
/// # Errors
/// The refusal with what to do about each, or that the answer was no.
pub(crate) fn consent(foreseen: &[Change], yes: bool, output: &Output) -> Result<()> {
    let stay: Vec<&Change> = foreseen.iter().filter(|change| change.effect == Effect::NotRemovable).collect();
    if !stay.is_empty() {
        let why: Vec<String> =
            stay.iter().map(|stays| format!("{} cannot be removed: {}", stays.name(), stays.changes.join(", "))).collect();
        let hints: BTreeSet<&str> = stay.iter().filter_map(|change| change.hint.as_deref()).collect();
        let mut hints: Vec<&str> = hints.into_iter().collect();
        hints.push("nothing was changed");
        return Err(Failure::refused(why.join("\n")).hint(hints.join("\n")));
    }
    let gone: Vec<String> = foreseen.iter().filter(|change| change.goes()).map(Change::name).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let are = if gone.len() == 1 { "that no file names is" } else { "that no file names are" };
    output.confirm(yes, &format!("{} {are} removed: {}", count(gone.len(), "environment"), gone.join(", ")))
}

/// Makes the controller's environments what the files say, and tells of each as soon as it is done.
///
/// # Errors
/// The first that the controller does not do. Those before are done, and applying the files again goes on from there.
pub(crate) fn apply(controller: &Controller, declared: &[Declared], foreseen: &[Change], output: &Output) -> Result<Vec<Change>> {
    let mut done = Vec::new();
    let mut note = |change: Change| {
        change.warn(output);
        if !output.is_json() {
            output.stdout(&change.text(Mode::Done));
        }
        done.push(change);
    };
    for one in declared {
        let request = request(one)?;
        let answer = controller.call(async |mut client| Ok(client.apply_environment(request).await?.into_inner()))?;
        note(Change::of_answer(one, answer));
    }
    for change in foreseen.iter().filter(|change| change.goes()) {
        remove(controller, &change.environment, &change.app, false)?;
        note(change.clone());
    }
    Ok(done)
}

fn request(declared: &Declared) -> Result<ApplyEnvironmentRequest> {
    let spec = serde_json::to_vec(&declared.spec).map_err(|error| Failure::failed("cannot encode the environment").because(&error))?;
    Ok(ApplyEnvironmentRequest { spec })
}

fn remove(controller: &Controller, environment: &str, app: &str, dry_run: bool) -> Result<()> {
    let request = RemoveEnvironmentRequest { environment: environment.to_owned(), app: app.to_owned(), dry_run };
    controller.call(async |mut client| client.remove_environment(request).await).map(drop)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn declared(name: &str, app: &str) -> Declared {
        let spec = serde_json::from_value(serde_json::json!({ "name": name, "app": app })).unwrap();
        Declared { file: format!("env/{name}.toml").into(), spec }
    }

    fn environment(name: &str, app: &str) -> Environment {
        Environment { name: name.into(), app: app.into(), ..Default::default() }
    }

    pub(crate) fn all() -> Vec<Change> {
        let answer = |result: &str, changes: &[&str], warnings: &[&str]| ApplyEnvironmentResponse {
            result: result.into(),
            changes: changes.iter().map(|text| (*text).to_owned()).collect(),
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        };
        let matches_none = "no host of production matches \"role=wbe\" (2 enrolled): their labels are role=web";
        let busy = Failure::refused("old of erp is not removed: r-7 has not ended in it").hint("end it with `roadstead rollout abort r-7`");
        vec![
            Change::of_answer(&declared("staging", "erp"), answer("unchanged", &[], &[])),
            Change::of_answer(&declared("trial", "erp"), answer("created", &[], &[])),
            Change::of_answer(
                &declared("production", "erp"),
                answer("changed", &["bake: 1 min → 5 min", "variables.DEBUG: set"], &[matches_none]),
            ),
            Change::of_removal(&environment("gone", "erp"), None),
            Change::of_removal(&environment("old", "erp"), Some(busy)),
        ]
    }

    #[test]
    fn what_is_foreseen_and_what_was_done_are_told_field_by_field() {
        let told = |mode| all().iter().map(|change| change.text(mode)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{}\n\n{}", told(Mode::Foreseen), told(Mode::Done)));
        insta::assert_snapshot!(serde_json::to_string_pretty(&all()).unwrap());
        assert_eq!(all().iter().filter(|change| change.differs()).count(), 4);
    }

    #[test]
    fn nothing_goes_that_a_file_names_for_the_same_app() {
        let known = vec![environment("staging", "erp"), environment("staging", "shop"), environment("trial", "erp")];
        let gone = undeclared(known, &[declared("staging", "erp"), declared("production", "erp")]);
        let names: Vec<_> = gone.iter().map(|environment| (environment.name.as_str(), environment.app.as_str())).collect();
        assert_eq!(names, [("staging", "shop"), ("trial", "erp")]);
    }

    #[test]
    fn nothing_goes_unasked_and_nothing_is_done_when_one_cannot_go() {
        // Nobody is ever asked under JSON, not even by a test that is run on a terminal.
        let output = Output::of_process(crate::output::Format::Json);
        let told =
            |result: Result<()>| result.map_or_else(|failure| format!("{failure}\nexit code {}", failure.kind.code()), |()| "done".into());
        let removable = &all()[..4];
        let answers = [
            told(consent(&all(), true, &output)),
            told(consent(removable, false, &output)),
            told(consent(removable, true, &output)),
            told(consent(&all()[..3], false, &output)),
        ];
        insta::assert_snapshot!(answers.join("\n\n"));
    }
}
