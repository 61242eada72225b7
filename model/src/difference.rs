//! What differs between two policies, field by field: one comparison for what applying changes and for one environment beside another.
//!
//! It goes by how a policy is written down, not by its struct: a field that is added to the policy is compared without a line here.

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

use crate::Millis;

/// Under these names the values of a configuration stand.
const CONFIGURED: [&str; 4] = ["variables.", "secrets.", "files.", "overrides."];

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which, such as `strategy.max-unavailable` or `variables.DEBUG`.
    pub field: String,
    /// What it is on the one side, in words; absent where it is not there.
    pub before: Option<String>,
    /// What it is on the other.
    pub after: Option<String>,
}

/// As applying tells it. Values of variables are not shown: the history keeps what is told, and is read by more people than the files.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, before, after } = self;
        let words = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        match (CONFIGURED.iter().any(|name| field.starts_with(name)), before, after) {
            (true, None, _) => write!(f, "{field}: set"),
            (true, _, None) => write!(f, "{field}: removed"),
            (true, ..) => write!(f, "{field}: changed"),
            _ => write!(f, "{field}: {} → {}", words(before), words(after)),
        }
    }
}

/// Every field that differs between two policies, by name: of an [`EnvironmentSpec`](crate::EnvironmentSpec), or of what one was written
/// down as. Policies that are not written the same differ in at least one.
///
/// # Errors
/// When a policy cannot be written down as JSON, which no policy that was read ever does.
pub fn differences<Policy: Serialize>(before: &Policy, after: &Policy) -> Result<Vec<Difference>, serde_json::Error> {
    let mut found = Vec::new();
    collect("", &serde_json::to_value(before)?, &serde_json::to_value(after)?, &mut found);
    Ok(found)
}

fn collect(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let Some((old, new)) = fields(before, after) else {
        return found.push(leaf(path, before, after));
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let path = match path {
            "" => name.replace('_', "-"),
            // The name of a variable is the app's, and that of a file.
            _ if path.ends_with("variables") || path.ends_with("secrets") || path.ends_with("files") => format!("{path}.{name}"),
            _ => format!("{path}.{}", name.replace('_', "-")),
        };
        collect(&path, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), found);
    }
}

/// Both sides as groups of fields: two such groups, or one that is not there on the other side. A list is a group by its places, from 1.
fn fields(before: &Value, after: &Value) -> Option<(Map<String, Value>, Map<String, Value>)> {
    match (by_place(before), by_place(after)) {
        (Value::Object(old), Value::Object(new)) => Some((old.clone(), new.clone())),
        (Value::Object(old), Value::Null) if !old.is_empty() => Some((old.clone(), Map::new())),
        (Value::Null, Value::Object(new)) if !new.is_empty() => Some((Map::new(), new.clone())),
        _ => None,
    }
}

fn by_place(value: &Value) -> Value {
    match value {
        Value::Array(values) => (1..).zip(values).map(|(place, value)| (place.to_string(), value.clone())).collect::<Map<_, _>>().into(),
        _ => value.clone(),
    }
}

fn leaf(path: &str, before: &Value, after: &Value) -> Difference {
    let (mut old, mut new) = (words(path, before), words(path, after));
    if old == new {
        // Two spans that read the same when they are rounded.
        (old, new) = (plain(before), plain(after));
    }
    Difference { field: path.to_owned(), before: old, after: new }
}

/// A value for people: spans in their units, texts without quotes where they need none.
fn words(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if path.ends_with("bake") || path.starts_with("timeouts.") || path == "analysis.every" => {
            number.as_u64().map(|ms| Millis(ms).to_string())
        }
        Value::String(text) if path == "hosts" && text.is_empty() => Some("all hosts".to_owned()),
        Value::String(text) if !text.is_empty() && text.trim() == text && !text.contains(char::is_control) => Some(text.clone()),
        _ => plain(value),
    }
}

fn plain(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppName, CanaryStep, EnvironmentName, EnvironmentSpec, Promotion, Selector, Share, VariableName};
    use serde_json::json;

    fn spec() -> EnvironmentSpec {
        let (name, app) = (EnvironmentName::parse("staging").unwrap(), AppName::parse("erp").unwrap());
        serde_json::from_value(json!({ "name": name, "app": app })).unwrap()
    }

    fn told(before: &EnvironmentSpec, after: &EnvironmentSpec) -> Vec<String> {
        differences(before, after).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_is_told_in_words() {
        let mut changed = spec();
        changed.hosts = Selector::parse("role=web").unwrap();
        changed.strategy.batch = Share::Count(2);
        changed.strategy.max_unavailable = Share::Percent(50);
        changed.strategy.steps =
            vec![CanaryStep { hosts: Share::Count(1), bake: Millis::from_secs(60), promote: Promotion::Manual, traffic: None }];
        changed.strategy.batch_bake = Millis::from_secs(60);
        changed.bake = Millis::from_secs(300);
        changed.timeouts.away = Millis::from_secs(90);
        changed.variables.insert(VariableName::parse("ALLOWED_HOSTS").unwrap(), "erp.example.org".to_owned());
        let all = [
            "bake: 1 min → 5 min",
            "hosts: all hosts → role=web",
            "strategy.batch: 34% → 2",
            "strategy.batch-bake: 0 ms → 1 min",
            "strategy.max-unavailable: 34% → 50%",
            "strategy.steps.1.bake: nothing → 1 min",
            "strategy.steps.1.hosts: nothing → 1",
            "strategy.steps.1.promote: nothing → manual",
            "timeouts.away: 1 min → 1 min 30 s",
            "variables.ALLOWED_HOSTS: set",
        ];
        assert_eq!(told(&spec(), &changed), all);
        assert_eq!(told(&changed, &changed), [""; 0]);
        let mut other = changed.clone();
        other.variables.insert(VariableName::parse("ALLOWED_HOSTS").unwrap(), "a\nb".to_owned());
        assert_eq!(told(&changed, &other), ["variables.ALLOWED_HOSTS: changed"]);
        let values = differences(&changed, &other).unwrap();
        assert_eq!(values[0].before.as_deref(), Some("erp.example.org"));
        assert_eq!(values[0].after.as_deref(), Some("\"a\\nb\""), "a line stays a line");
        assert_eq!(told(&other, &spec()).last().unwrap(), "variables.ALLOWED_HOSTS: removed");
    }

    #[test]
    fn spans_that_read_the_same_are_told_apart() {
        let (mut one, mut other) = (spec(), spec());
        (one.bake, other.bake) = (Millis(1_210), Millis(1_220));
        assert_eq!(told(&one, &other), ["bake: 1210 → 1220"]);
    }

    /// Fields that policies do not have yet.
    #[test]
    fn whatever_is_written_is_compared() {
        let mut found = Vec::new();
        let before = json!({ "canary": null, "steps": [1, "10%"], "on_failure": "back", "window": { "days": ["mon"] } });
        let after = json!({ "canary": { "hosts": 1 }, "steps": [1, "25%"], "on_failure": "pause", "window": {} , "empty": {} });
        collect("", &before, &after, &mut found);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let all = [
            "canary.hosts: nothing → 1",
            "empty: nothing → {}",
            "on-failure: back → pause",
            "steps.2: 10% → 25%",
            "window.days.1: mon → nothing",
        ];
        assert_eq!(told, all);
    }
}
