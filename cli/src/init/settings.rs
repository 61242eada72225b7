//! Django settings and other modules read as text: assignments, string literals, variables of the environment.

use std::collections::BTreeMap;

/// A variable that settings read: whether they give it a default.
pub(super) type Variables = BTreeMap<String, bool>;

/// The text of the value assigned to `name`, as far as its brackets are open; the last assignment counts.
pub(super) fn assignment<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = line
            .trim_start()
            .strip_prefix(name)
            .map(str::trim_start)
            .and_then(|rest| rest.strip_prefix('='))
            .filter(|rest| !rest.starts_with('='));
        if let Some(rest) = rest {
            let start = at + line.len() - rest.len();
            found = Some(value(&text[start..]));
        }
        at += line.len();
    }
    found
}

fn value(text: &str) -> &str {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '\n' if depth <= 0 => return &text[..at],
            _ => {}
        }
    }
    text
}

/// The text up to the bracket that closes the one before it.
fn within(text: &str) -> &str {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return &text[..at],
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The string literals of an expression.
pub(super) fn literals(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(['"', '\'', '#']) {
        let quote = &rest[at..=at];
        let after = &rest[at + 1..];
        if quote == "#" {
            rest = after.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let Some(end) = after.find(quote) else { break };
        found.push(&after[..end]);
        rest = &after[end + 1..];
    }
    found
}

/// A path below the project's folder, as `BASE_DIR / "a" / "b"` or `os.path.join(BASE_DIR, "a")` say it.
pub(super) fn project_path(expression: &str) -> Option<String> {
    let plain = ["environ", "getenv", "env(", "config("].iter().all(|word| !expression.contains(word));
    let based = ["BASE_DIR", "ROOT_DIR", "BASE_PATH", "BASE", "PROJECT_ROOT"].iter().any(|word| expression.contains(word));
    let parts: Vec<&str> = literals(expression).into_iter().map(|part| part.trim_matches('/')).filter(|part| !part.is_empty()).collect();
    let path = parts.join("/");
    let fine = plain && based && !path.is_empty() && !path.split('/').any(|part| part == ".." || part == ".");
    fine.then_some(path)
}

/// Variables that a module reads from the environment, in the ways of os, django-environ and decouple.
pub(super) fn variables(text: &str, found: &mut Variables) {
    const CALLS: [&str; 8] = ["environ.get(", "getenv(", "environ[", "env(", "env.", "config(", "environ.setdefault(", "env["];
    for call in CALLS {
        for (at, _) in text.match_indices(call) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let mut rest = &text[at + call.len()..];
            if call == "env." {
                let Some((method, arguments)) =
                    rest.split_once('(').filter(|(method, _)| method.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                else {
                    continue;
                };
                if ["read_env", "setdefault", "get"].contains(&method) && method != "get" {
                    continue;
                }
                rest = arguments;
            }
            if call == "environ.setdefault(" {
                continue;
            }
            let arguments = within(rest);
            let Some(name) =
                literals(arguments).first().copied().filter(|name| is_name(name) && rest.trim_start().starts_with(['"', '\'']))
            else {
                continue;
            };
            let after = arguments.split_once(name).map_or("", |(_, after)| after);
            let inside = after.split([')', ']']).next().unwrap_or_default();
            // `environ.get(X)` without a default gives None, which most settings take; `environ[X]` does not forgive.
            let has_default = inside.contains(',') || call == "environ.get(" || call == "getenv(";
            let entry = found.entry(name.to_owned()).or_insert(has_default);
            *entry &= has_default;
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !text.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_and_paths_are_read() {
        let text = "STATIC_ROOT = 'old'\nDATABASES = {\n 'default': {\n  'NAME': BASE_DIR / 'db.sqlite3', # 'x'\n }\n}\nSTATIC_ROOT = os.path.join(BASE_DIR, \"a\", 'b')\nX == 1\n";
        assert_eq!(project_path(assignment(text, "STATIC_ROOT").unwrap()).unwrap(), "a/b");
        assert_eq!(literals(assignment(text, "DATABASES").unwrap()), ["default", "NAME", "db.sqlite3"]);
        assert_eq!(assignment(text, "X"), None);
        for bad in ["env('STATIC_ROOT')", "'/var/www'", "BASE_DIR / '../x'", "BASE_DIR"] {
            assert_eq!(project_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn variables_of_the_usual_libraries_are_found() {
        let mut found = Variables::new();
        variables(
            "a = os.environ['SECRET_KEY']\nb = os.environ.get('HOST', 'x')\nc = env.bool(\"DEBUG\", default=False)\nd = env('DATABASE_URL')\n\
             e = config('TOKEN', cast=str)\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')\nf = myenv('NOT')\nenv.read_env('.env')\ng = os.getenv(\n  'WIDE')\nh = env(name)\n",
            &mut found,
        );
        let expected = [("DATABASE_URL", false), ("DEBUG", true), ("HOST", true), ("SECRET_KEY", false), ("TOKEN", true), ("WIDE", true)];
        assert_eq!(found.iter().map(|(name, default)| (name.as_str(), *default)).collect::<Vec<_>>(), expected);
    }
}
