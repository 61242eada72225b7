//! Whether a configuration gives a release what it needs: the same answer before a rollout begins and on each host. Pure.

use roadstead_model::{Key, RelativePath, ServiceName, Values, VariableName};
use std::collections::BTreeSet;
use std::fmt;

use crate::spec::AppSpec;
use crate::variable::may_not_set;

/// What is wrong with one value, or the want of it. Values are not told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfit {
    /// Of which.
    pub key: Key,
    /// What is wrong, to be read behind its name.
    pub why: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.why)
    }
}

/// What a release declares and lets an environment set, and the names of the rest.
#[must_use]
pub fn declared(spec: &AppSpec, values: Values) -> (Values, Vec<Key>) {
    let takes = |key: &Key| match key {
        Key::Variable(name) => spec.variables.get(name).is_some_and(|variable| !variable.fixed),
        Key::Secret(name) => spec.variables.get(name).is_some_and(|variable| variable.secret),
        Key::File(path) => spec.configured.contains(path),
    };
    let (mut kept, mut others) = (Values::default(), Vec::new());
    for (key, value) in values.entries() {
        if takes(&key) {
            // A place of a secret that was read once is one.
            let _was_read_before = kept.put(&key, Some(value));
        } else {
            others.push(key);
        }
    }
    (kept, others)
}

/// What is wrong with what an environment says to one host, as far as the release declares it; what is missing is another question.
#[must_use]
pub fn wrong(spec: &AppSpec, values: &Values) -> Vec<Unfit> {
    let variable = |(name, value): (&VariableName, &String)| {
        let declared = spec.variables.get(name)?;
        let in_clear = || declared.secret.then(|| "is a secret: a configuration says where it is, and never its value".to_owned());
        let not_here = may_not_set(name, declared).map(|why| format!("cannot be set here: {why}"));
        let why = not_here.or_else(in_clear).or_else(|| declared.mistake(value))?;
        Some(Unfit { key: Key::Variable(name.clone()), why })
    };
    let secret = |name: &VariableName| {
        let declared = spec.variables.get(name)?;
        let open = || "is no secret by roadstead.toml of the release: say `secret = true` there, so that it is hidden".to_owned();
        let why = may_not_set(name, declared).map(|why| format!("cannot be set here: {why}")).or_else(|| (!declared.secret).then(open))?;
        Some(Unfit { key: Key::Secret(name.clone()), why })
    };
    values.variables.iter().filter_map(variable).chain(values.secrets.keys().filter_map(secret)).collect()
}

/// What a host lacks that runs these services. `local` are the variables that the host's own file sets; where nobody knows them, nothing
/// counts as missing but files.
#[must_use]
pub fn missing(spec: &AppSpec, values: &Values, local: Option<&BTreeSet<VariableName>>, runs: impl Fn(&ServiceName) -> bool) -> Vec<Unfit> {
    let mut found = Vec::new();
    for (name, variable) in spec.variables.iter().filter(|(_, variable)| variable.required) {
        let Some(local) = local else { break };
        let is_needed = variable.services.is_empty() || variable.services.iter().any(&runs);
        let is_said = values.variables.contains_key(name) || values.secrets.contains_key(name);
        if is_needed && !is_said && !local.contains(name) {
            let why = format!("is required and not set: {} needs it", variable.needed_by());
            found.push(Unfit { key: Key::Variable(name.clone()), why });
        }
    }
    for path in spec.configured.iter().filter(|path| !values.files.contains_key(*path)) {
        let why = "is a file that the release takes from the configuration, and there is none".to_owned();
        found.push(Unfit { key: Key::File(path.clone()), why });
    }
    found
}

/// Why a file of this name comes from no configuration; nothing when it may. Python, the shell or the loader would run it.
#[must_use]
pub fn is_code(path: &RelativePath) -> Option<&'static str> {
    let name = path.as_str().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "py" | "pyc" | "pyo" | "pyw" | "pyi" | "pyd" | "pth" | "egg" | "whl" | "zip" | "pyz" => Some("Python runs such files"),
        "so" | "dll" | "dylib" => Some("the dynamic loader runs such files"),
        "sh" | "bash" | "pl" | "rb" | "js" => Some("such files are programs"),
        "service" | "timer" | "socket" => Some("systemd runs what such files say"),
        "pickle" | "pkl" | "joblib" => Some("reading a pickle runs code"),
        _ if name.contains(".so.") => Some("the dynamic loader runs such files"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::spec::{ValueType, Variable};

    fn name(text: &str) -> VariableName {
        VariableName::parse(text).unwrap()
    }

    fn spec() -> AppSpec {
        let mut spec = samples::manifest().spec;
        spec.configured = vec![RelativePath::parse("config/limits.toml").unwrap()];
        let workers = Variable { kind: ValueType::Integer, ..Variable::default() };
        let web = ServiceName::parse("web").unwrap();
        let key = Variable { required: true, secret: true, services: vec![web], ..Variable::default() };
        let module = Variable { fixed: true, default: Some("x".to_owned()), ..Variable::default() };
        spec.variables =
            [("WORKERS", workers), ("KEY", key), ("MODULE", module), ("LD_PRELOAD", Variable::default())].map(|(n, v)| (name(n), v)).into();
        spec
    }

    fn values(variables: &[(&str, &str)]) -> Values {
        Values { variables: variables.iter().map(|(n, v)| (name(n), (*v).to_owned())).collect(), ..Values::default() }
    }

    fn told(found: &[Unfit]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_held_against_what_is_declared_and_never_told() {
        let given = values(&[("WORKERS", "m4ny"), ("KEY", "s3cr3t"), ("MODULE", "evil"), ("LD_PRELOAD", "evil.so"), ("OTHER", "x")]);
        let found = told(&wrong(&spec(), &given));
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "KEY is a secret: a configuration says where it is, and never its value");
        assert!(found[1].starts_with("LD_PRELOAD cannot be set here: no environment may set it"), "{found:?}");
        assert_eq!(found[2..], ["MODULE cannot be set here: roadstead.toml of the release fixes it", "WORKERS is to be a whole number"]);
        let mut places = Values::default();
        for name in ["secret:KEY", "secret:WORKERS", "secret:LD_PRELOAD"] {
            places.put(&Key::parse(name).unwrap(), Some("vault:secret/erp#key".to_owned())).unwrap();
        }
        let found = told(&wrong(&spec(), &places));
        assert!(
            found[0].starts_with("secret:LD_PRELOAD cannot be set here") && found[1].starts_with("secret:WORKERS is no secret"),
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
        let (kept, others) = declared(&spec(), given);
        assert_eq!(kept.variables.len(), 3);
        assert_eq!(others, [Key::Variable(name("MODULE")), Key::Variable(name("OTHER"))]);
    }

    #[test]
    fn what_is_missing_is_told_with_who_needs_it() {
        let nobody = BTreeSet::new();
        let found = told(&missing(&spec(), &values(&[]), Some(&nobody), |_| true));
        let file = "file:config/limits.toml is a file that the release takes from the configuration, and there is none";
        assert_eq!(found, ["KEY is required and not set: web needs it", file]);
        assert_eq!(told(&missing(&spec(), &values(&[]), Some(&nobody), |service| service.as_str() == "mail")), [file]);
        assert_eq!(told(&missing(&spec(), &values(&[]), Some(&BTreeSet::from([name("KEY")])), |_| true)), [file]);
        assert_eq!(told(&missing(&spec(), &values(&[]), None, |_| true)), [file], "nobody knows what the host sets");
    }

    #[test]
    fn no_configuration_holds_code() {
        for bad in ["local.py", "a/b.PY", "x.so", "libx.so.1", "run.sh", "site.pth", "model.pkl"] {
            assert!(is_code(&RelativePath::parse(bad).unwrap()).is_some(), "{bad}");
        }
        for good in ["config/limits.toml", "a.json", "robots.txt", "LICENSE", "ca.pem"] {
            assert!(is_code(&RelativePath::parse(good).unwrap()).is_none(), "{good}");
        }
    }
}
