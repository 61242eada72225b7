//! A check-up of all that the command can see: each part looks at one thing and tells it at once; nothing is changed.

pub(crate) mod controller;
pub(crate) mod fleet;
mod hosts;
pub(crate) mod project;

use roadstead_model::Finding;

use crate::output::Output;

/// The check-up as far as it is.
#[derive(Debug)]
pub(crate) struct Checkup<'a> {
    /// Nobody is told at once where there is none.
    output: Option<&'a Output>,
    findings: Vec<Finding>,
}

impl<'a> Checkup<'a> {
    /// One that begins.
    pub(crate) const fn new(output: &'a Output) -> Self {
        Self { output: Some(output), findings: Vec::new() }
    }

    /// One that tells nobody, for who takes its findings.
    pub(crate) const fn silent() -> Self {
        Self { output: None, findings: Vec::new() }
    }

    /// Tells what was found.
    pub(crate) fn tell(&mut self, finding: Finding) {
        if let Some(output) = self.output {
            output.finding(&finding);
        }
        self.findings.push(finding);
    }

    /// All that was found.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}
