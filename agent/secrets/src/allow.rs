//! Which paths an app may have, by the word of the host's operator. References come from elsewhere, perhaps from a controller that was taken
//! over: this is what keeps one app's secrets from another.

use roadstead_model::{AppName, SecretPath};

/// Stands for the name of the app that asks.
const APP: &str = "{app}";
const PATTERN_BYTES_MAX: usize = 600;

/// A pattern of paths: a path, in which `{app}` is the app's name, and a last part of `*` is everything below, a `*` at the end of the last
/// part what it may end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = || text.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
        let stem = text.strip_suffix('*');
        if text.len() > PATTERN_BYTES_MAX || stem.unwrap_or(text).contains('*') {
            return Err(format!("{:?} is no pattern of secrets: '*' stands only at its end", shown()));
        }
        // An app's name may go on with what stands between the name and the star.
        let in_names = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if let Some((before, _)) = stem.and_then(|stem| stem.rsplit_once(APP)).filter(|(_, after)| in_names(after)) {
            return Err(format!(
                "the pattern {:?} would let the app `erp` have what belongs to an app `erp-2`: end it with {before}{APP}/* or {before}{APP}.*",
                shown()
            ));
        }
        let plain = stem.map_or_else(|| text.to_owned(), |stem| format!("{stem}x")).replace(APP, "a");
        if text != "*" && SecretPath::parse(&plain).is_err() {
            return Err(format!(
                "{:?} is no pattern of secrets: write a path such as secret/{APP}/*, with letters, digits and . _ - @ + = in its parts",
                shown()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether an app may have what is at a path.
    #[must_use]
    pub fn fits(&self, app: &AppName, path: &SecretPath) -> bool {
        let pattern = self.0.replace(APP, app.as_str());
        let path = path.as_str();
        let Some(stem) = pattern.strip_suffix('*') else { return pattern == path };
        let rest = path.strip_prefix(stem).filter(|rest| !rest.is_empty());
        // What ends within a part stays within it.
        rest.is_some_and(|rest| stem.is_empty() || stem.ends_with('/') || !rest.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, app: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(&AppName::parse(app).unwrap(), &SecretPath::parse(path).unwrap())
    }

    #[test]
    fn an_app_has_what_is_its_own() {
        for (pattern, path, does) in [
            ("secret/{app}", "secret/erp", true),
            ("secret/{app}", "secret/erp/db", false),
            ("secret/{app}", "secret/erp-2", false),
            ("secret/{app}/*", "secret/erp/db", true),
            ("secret/{app}/*", "secret/erp/db/live", true),
            ("secret/{app}/*", "secret/erp", false),
            ("secret/{app}/*", "secret/erp-2/db", false),
            ("{app}.*", "erp.key", true),
            ("{app}.*", "erp-2.key", false),
            ("{app}.*", "erp.key/x", false),
            ("secret/shared", "secret/shared", true),
            ("secret/team-*", "secret/team-a", true),
            ("secret/team-*", "secret/team-a/b", false),
            ("secret/team-*", "secret/team-", false),
            ("*", "anything/at/all", true),
        ] {
            assert_eq!(fits(pattern, "erp", path), does, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_that_say_more_than_they_seem_to_are_refused() {
        let long = format!("a/{}", "b".repeat(700));
        for bad in [
            "",
            "/",
            "secret/",
            "secret/*/db",
            "**",
            "secret/{app}*",
            "{app}-*",
            "{app}-db*",
            "secret/../x",
            "a b",
            "{name}/*",
            "secret/\n*",
            &long,
        ] {
            let error = Pattern::parse(bad).unwrap_err();
            assert!(error.contains("pattern") && !error.contains('\n'), "{bad:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_app_has_what_is_below_the_name_of_another(
            one in "[a-z][a-z0-9-]{0,6}[a-z0-9]", other in "[a-z][a-z0-9-]{0,6}[a-z0-9]", below in "[A-Za-z0-9_][A-Za-z0-9._/-]{0,9}"
        ) {
            prop_assume!(one != other);
            let Ok(path) = SecretPath::parse(&format!("secret/{other}/{below}")) else { return Ok(()) };
            let one = AppName::parse(&one).unwrap();
            for pattern in ["secret/{app}", "secret/{app}/*", "secret/{app}.*"] {
                prop_assert!(!Pattern::parse(pattern).unwrap().fits(&one, &path));
            }
        }
    }
}
