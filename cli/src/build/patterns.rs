//! Patterns of files to take and to leave out, as `.gitignore` has them: `*` within a name, `**` over folders, a name alone at any depth.

/// Whether a path is taken: by an `include` pattern (or there is none), and by no `exclude` pattern.
pub(crate) fn taken(include: &[String], exclude: &[String], path: &str, is_folder: bool) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, path));
    // A folder is entered for what may be included below it; one that ends up empty is left out anyway.
    !any(exclude) && (is_folder || include.is_empty() || any(include))
}

/// Whether a pattern matches a path or a folder above it.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    if !pattern.contains('/') {
        return parts.iter().any(|part| name(pattern.as_bytes(), part.as_bytes()));
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    (1..=parts.len()).any(|length| folders(&pattern, &parts[..length]))
}

fn folders(pattern: &[&str], parts: &[&str]) -> bool {
    match pattern.split_first() {
        None => parts.is_empty(),
        Some((&"**", rest)) => (0..=parts.len()).any(|skipped| folders(rest, &parts[skipped..])),
        Some((first, rest)) => {
            parts.split_first().is_some_and(|(part, others)| name(first.as_bytes(), part.as_bytes()) && folders(rest, others))
        }
    }
}

/// `*` is any number of letters of one name. Two positions are remembered instead of trying all ways: hostile patterns cost no more.
fn name(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(letter) if *letter == b'?' || Some(letter) == text.get(seen) => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((starred, from)) => {
                    star = Some((starred, from + 1));
                    at = starred + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, path, expected) in [
            ("*.md", "docs/a.md", true),
            ("docs", "docs/deep/a.txt", true),
            ("docs/**", "docs/deep/a.txt", true),
            ("docs/*.md", "docs/deep/a.md", false),
            ("**/tests", "a/b/tests/x.py", true),
            ("a/b", "x/a/b", false),
            ("?.py", "ab.py", false),
            ("a*b*c", "aXbXXc", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert!(taken(&list(&["app/**"]), &list(&["*.pyc"]), "app/x.py", false));
        assert!(!taken(&list(&["app/**"]), &[], "other.py", false));
        assert!(taken(&list(&["app/**"]), &[], "other", true));
        assert!(!taken(&[], &list(&["tests"]), "tests", true));
    }
}
