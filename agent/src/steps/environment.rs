//! The variables of a release on this host, pure: which are set, by whom, and which are refused or missing.

use roadstead_bundle::configured::{Unfit, missing, wrong};
use roadstead_bundle::spec::AppSpec;
use roadstead_model::{Failure, FailureKind, Key, SecretRef, ServiceName, Values, VariableName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the variables of a release are made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// What the manifest declares.
    pub(crate) spec: &'a AppSpec,
    /// What the environment's order sets.
    pub(crate) ordered: &'a BTreeMap<VariableName, String>,
    /// Where the environment's order says that secrets are.
    pub(crate) secrets: &'a BTreeMap<VariableName, SecretRef>,
    /// What the host's operator set in a file of root's.
    pub(crate) local: &'a BTreeMap<VariableName, String>,
    /// Where that file is, for messages.
    pub(crate) local_file: &'a Path,
    /// The services that run here.
    pub(crate) runs: &'a BTreeSet<&'a ServiceName>,
}

/// The variables that the app declares, as they are set here. Later wins: the manifest's defaults, the order's values, the host's file.
///
/// What an order may set is what the signed manifest declares, without what steers which code runs. Whatever names the host's file has are
/// taken: root wrote it.
pub(crate) fn declared(sources: &Sources<'_>) -> Result<BTreeMap<VariableName, String>, Failure> {
    let Sources { spec, ordered, secrets, local, local_file, runs } = sources;
    let place = local_file.display();
    if let Some(name) = ordered.keys().chain(secrets.keys()).find(|name| !spec.variables.contains_key(*name)) {
        let summary = format!("the environment sets {name}, but roadstead.toml of the release does not declare it");
        let hint = format!("remove {name} from the environment, or declare it in roadstead.toml");
        return Err(Failure::new(FailureKind::Unfit, summary, hint));
    }
    let given = Values { variables: (*ordered).clone(), secrets: (*secrets).clone(), ..Values::default() };
    unfit("what the environment sets", &wrong(spec, &given), "correct it in the environment's configuration (`roadstead config set`)")?;
    let hint = format!("set them in the environment's configuration, or (secrets) as root in {place} on the host");
    let own = local.keys().cloned().collect();
    // Files are looked at where they are placed.
    let mut lacks = missing(spec, &given, Some(&own), |service| runs.contains(service));
    lacks.retain(|lack| matches!(lack.key, Key::Variable(_)));
    unfit("required variables", &lacks, &hint)?;
    let mistaken = |(name, value): (&VariableName, &String)| {
        Some(Unfit { key: Key::Variable(name.clone()), why: spec.variables.get(name)?.mistake(value)? })
    };
    let mistakes: Vec<Unfit> = local.iter().filter_map(mistaken).collect();
    unfit(&format!("{place} of the host"), &mistakes, &format!("correct {place} on the host, as root"))?;
    let not_secret = spec.variables.iter().filter(|(name, _)| !secrets.contains_key(*name));
    let defaults = not_secret.filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?)));
    let mut values: BTreeMap<VariableName, String> = defaults.collect();
    values.extend(ordered.iter().chain(*local).map(|(name, value)| (name.clone(), value.clone())));
    Ok(values)
}

fn unfit(what: &str, problems: &[Unfit], hint: &str) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::new(FailureKind::Unfit, format!("{what}: {}", told.join("; ")), hint))
}

/// Everything that a process of the release gets: the agent's own settings around those that the app declares.
pub(crate) fn complete(
    declared: BTreeMap<VariableName, String>,
    overridable: &[(&'static str, String)],
    fixed: &[(&'static str, String)],
) -> BTreeMap<VariableName, String> {
    let named = |list: &[(&'static str, String)]| {
        list.iter().filter_map(|(name, value)| Some((VariableName::parse(name).ok()?, value.clone()))).collect::<Vec<_>>()
    };
    let mut all: BTreeMap<VariableName, String> = named(overridable).into_iter().collect();
    all.extend(declared);
    all.extend(named(fixed));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use roadstead_bundle::spec::Variable;

    fn variables(list: &[(&str, &str)]) -> BTreeMap<VariableName, String> {
        list.iter().map(|(name, value)| (VariableName::parse(name).unwrap(), (*value).to_owned())).collect()
    }

    fn with(spec: &AppSpec, ordered: &[(&str, &str)], local: &[(&str, &str)]) -> Result<BTreeMap<VariableName, String>, Failure> {
        let (ordered, local) = (variables(ordered), variables(local));
        let runs = spec.services.keys().collect();
        declared(&Sources {
            spec,
            ordered: &ordered,
            secrets: &BTreeMap::new(),
            local: &local,
            local_file: Path::new("/etc/roadstead/apps/erp.env"),
            runs: &runs,
        })
    }

    #[test]
    fn later_sources_win() {
        let spec = samples::spec();
        let got = with(&spec, &[("SECRET_KEY", "a"), ("DEBUG", "True")], &[("DEBUG", "No"), ("LOCAL", "x")]).unwrap();
        assert_eq!(got, variables(&[("SECRET_KEY", "a"), ("DEBUG", "No"), ("LOCAL", "x")]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = with(&samples::spec(), &[], &[]).unwrap_err();
        assert_eq!(failure.summary, "required variables: SECRET_KEY is required and not set: every service needs it");
        assert!(failure.hint.contains("/etc/roadstead/apps/erp.env"));
    }

    #[test]
    fn an_order_sets_only_what_the_manifest_lets_it() {
        let mut spec = samples::spec();
        spec.variables.insert(VariableName::parse("PYTHONPATH").unwrap(), Variable::default());
        spec.variables.insert(VariableName::parse("BACKEND").unwrap(), Variable { fixed: true, ..Variable::default() });
        for (name, why) in [("OTHER", "does not declare"), ("BACKEND", "fixes"), ("PYTHONPATH", "no environment may")] {
            let failure = with(&spec, &[("SECRET_KEY", "a"), (name, "x")], &[]).unwrap_err();
            assert!(failure.summary.contains(why), "{}", failure.summary);
        }
        assert!(with(&spec, &[("SECRET_KEY", "a")], &[("PYTHONPATH", "/x")]).is_ok());
    }

    #[test]
    fn no_order_sets_what_steers_code_whatever_the_manifest_says() {
        for bad in ["LD_PRELOAD", "PYTHONPATH", "PATH", "GUNICORN_CMD_ARGS", "PIP_INDEX_URL", "PGOPTIONS", "DJANGO_SETTINGS_MODULE"] {
            let ordered = [("SECRET_KEY", "a"), (bad, "/tmp/evil")];
            let undeclared = with(&samples::spec(), &ordered, &[]).unwrap_err();
            assert!(undeclared.summary.contains(bad) && undeclared.summary.contains("does not declare"), "{bad}: {}", undeclared.summary);
            let mut spec = samples::spec();
            spec.variables.insert(VariableName::parse(bad).unwrap(), Variable::default());
            let declared = with(&spec, &ordered, &[]).unwrap_err();
            assert!(
                declared.summary.contains(bad) && declared.summary.contains("no environment may set it"),
                "{bad}: {}",
                declared.summary
            );
            assert_eq!(declared.kind, FailureKind::Unfit);
        }
    }
}
