//! What differs between two configurations.

use roadstead_model::configuration::{Change, compare};
use roadstead_proto::v1;

use super::show::shown;
use super::{Named, name};
use crate::failure::Result;
use crate::output::{Output, table};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// An environment, or one with a version.
    #[arg(value_name = "ENVIRONMENT[@VERSION]")]
    left: Named,
    /// The other one. Without it, what runs is compared with what the next rollout brings.
    #[arg(value_name = "ENVIRONMENT[@VERSION]")]
    right: Option<Named>,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let Arguments { left, right, app } = arguments;
    let (left, right) = match right {
        Some(right) => (left.clone(), right.clone()),
        None if left.version > 0 => (left.clone(), Named { version: 0, ..left.clone() }),
        None => (Named { running: true, ..left.clone() }, left.clone()),
    };
    let ((one, old), (other, new)) = (left.fetch(app)?, right.fetch(app)?);
    let changes = compare(&old, &new);
    let sides = [&one, &other].map(|side| serde_json::json!({ "environment": side.environment, "version": side.version }));
    output.result(&serde_json::json!({ "left": sides[0], "right": sides[1], "changes": changes }), || text(&one, &other, &changes));
    Ok(())
}

fn text(one: &v1::Configuration, other: &v1::Configuration, changes: &[Change]) -> String {
    let side = |side: &v1::Configuration| format!("{} of {}", name(side), side.environment);
    if changes.is_empty() {
        return format!("{} and {} say the same", side(one), side(other));
    }
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), shown);
    let row = |change: &Change| {
        let hosts = if change.hosts.is_empty() { "all hosts" } else { change.hosts.as_str() };
        [change.key.to_string(), hosts.to_owned(), value(&change.before), value(&change.after)]
    };
    let (left, right) = (side(one).to_uppercase(), side(other).to_uppercase());
    table(["NAME", "FOR", left.as_str(), right.as_str()], changes.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Key;

    #[test]
    fn both_sides_are_shown() {
        let side = |version| v1::Configuration { environment: "production".into(), version, ..v1::Configuration::default() };
        let change = |key: &str, hosts: &str, before: Option<&str>, after: Option<&str>| Change {
            hosts: hosts.to_owned(),
            key: Key::parse(key).unwrap(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let changes = [
            change("POOL_SIZE", "", Some("8"), Some("16")),
            change("file:config/limits.toml", "zone=b", None, Some("rate = 5\n")),
            change("OLD", "", Some("x"), None),
        ];
        insta::assert_snapshot!(text(&side(6), &side(7), &changes));
        assert_eq!(text(&side(0), &side(7), &[]), "no configuration of production and configuration 7 of production say the same");
    }
}
