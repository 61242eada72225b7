//! The lines of a failed program's output that say why it failed, out of the many that it wrote while it fell over.

use std::fmt::Write as _;

/// Lines at the end that are shown in any case.
const LAST_LINES: usize = 6;
/// Lines before an exception's own line that are shown: where it was raised.
const LINES_BEFORE: usize = 3;

/// The telling lines, indented, with control characters made harmless.
///
/// A server whose worker cannot import the app writes that exception first and then a long traceback of its own:
/// so the first exception is shown as well as the last lines.
pub(crate) fn excerpt(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let end = lines.len().saturating_sub(LAST_LINES);
    let mut text = String::new();
    match lines[..end].iter().position(|line| is_exception(line)) {
        Some(at) => {
            show(&mut text, &lines[at.saturating_sub(LINES_BEFORE)..=at]);
            if at + 1 < end {
                let _infallible = writeln!(text, "  | … ({} more lines)", end - at - 1);
            }
        }
        None => show(&mut text, &lines[end.saturating_sub(LAST_LINES)..end]),
    }
    show(&mut text, &lines[end..]);
    text
}

/// Whether a line is the end of a Python traceback: `package.SomeError: words` or `SomeError` at its beginning
/// (<https://docs.python.org/3/library/traceback.html>).
fn is_exception(line: &str) -> bool {
    let name = line.split_once(": ").map_or(line, |(name, _)| name);
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_path = name
        .split('.')
        .all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_') && part.chars().all(|c| c.is_alphanumeric() || c == '_'));
    is_path && ["Error", "Exception", "Configured", "DoesNotExist", "NotFound"].iter().any(|end| last.ends_with(end))
}

fn show(text: &mut String, lines: &[&str]) {
    for line in lines {
        let plain: String = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        let _infallible = writeln!(text, "  | {plain}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_exception_is_shown_before_the_servers_own_fall() {
        let mut output =
            "[INFO] Starting gunicorn\nTraceback (most recent call last):\n  File \"wsgi.py\", line 3\n    import nothing\n".to_owned();
        output.push_str("ModuleNotFoundError: No module named 'nothing'\n");
        for line in 0..30 {
            let _infallible = writeln!(output, "  File \"arbiter.py\", line {line}");
        }
        output.push_str("gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>\n");
        assert_eq!(
            excerpt(&output),
            "  | Traceback (most recent call last):
  |   File \"wsgi.py\", line 3
  |     import nothing
  | ModuleNotFoundError: No module named 'nothing'
  | … (25 more lines)
  |   File \"arbiter.py\", line 25
  |   File \"arbiter.py\", line 26
  |   File \"arbiter.py\", line 27
  |   File \"arbiter.py\", line 28
  |   File \"arbiter.py\", line 29
  | gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
"
        );
    }

    #[test]
    fn output_without_an_exception_keeps_its_end() {
        let output: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let shown = excerpt(&output);
        assert_eq!(shown.lines().count(), 2 * LAST_LINES);
        assert!(shown.starts_with("  | line 88\n") && shown.ends_with("  | line 99\n"), "{shown}");
        assert_eq!(excerpt("one\u{1b}[31m"), "  | one\u{fffd}[31m\n");
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn exceptions_are_known_by_their_names() {
        for line in
            ["KeyError: 'x'", "django.core.exceptions.ImproperlyConfigured: no", "ZeroDivisionError", "app.Customer.DoesNotExist: q"]
        {
            assert!(is_exception(line), "{line}");
        }
        for line in ["  KeyError: indented", "[2026] Error: x", "Error 5: x y", "", "something went wrong", "a..Error: x"] {
            assert!(!is_exception(line), "{line}");
        }
    }
}
