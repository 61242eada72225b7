//! Environment files in systemd's syntax, pure: rendering, reading, and the names that no controller may set.

use roadstead_model::{VariableName, limits};
use std::collections::BTreeMap;

/// What is wrong with an environment file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvironmentFileError {
    /// A line that is neither an assignment nor a comment.
    #[error("line {line} is not an assignment: write NAME=value, NAME=\"several\nlines\", or # a comment")]
    NotAnAssignment {
        /// Its number, from 1.
        line: usize,
    },
    /// A name that no variable may have.
    #[error("line {line}: {name:?} is not a variable name: letters, digits and '_', no digit first")]
    Name {
        /// Its number, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// A quotation that does not end.
    #[error("the quotation that begins in line {line} does not end")]
    Unterminated {
        /// Where it begins, from 1.
        line: usize,
    },
    /// A value that systemd would drop.
    #[error("the value of {name} has a NUL character or is longer than {} bytes", limits::VARIABLE_VALUE_BYTES_MAX)]
    Value {
        /// The variable.
        name: String,
    },
}

/// The file with these variables, sorted by name.
pub(crate) fn render(variables: &BTreeMap<VariableName, String>) -> Result<String, EnvironmentFileError> {
    let mut text = String::new();
    for (name, value) in variables {
        if value.contains('\0') || value.len() > limits::VARIABLE_VALUE_BYTES_MAX {
            return Err(EnvironmentFileError::Value { name: name.to_string() });
        }
        text.push_str(name.as_str());
        text.push_str("=\"");
        for character in value.chars() {
            if matches!(character, '"' | '\\' | '`' | '$') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push_str("\"\n");
    }
    Ok(text)
}

/// Reads a file as systemd does: comments (`#`, `;`), single and double quotation over several lines, a backslash before a line end joins lines.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<VariableName, String>, EnvironmentFileError> {
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}').chars().peekable(), line: 1 };
    let mut variables = BTreeMap::new();
    while reader.skip_to_assignment() {
        let line = reader.line;
        let name = reader.name().ok_or(EnvironmentFileError::NotAnAssignment { line })?;
        let value = reader.value()?;
        let name = VariableName::parse(&name).map_err(|_| EnvironmentFileError::Name { line, name: name.chars().take(80).collect() })?;
        if value.contains('\0') || value.len() > limits::VARIABLE_VALUE_BYTES_MAX {
            return Err(EnvironmentFileError::Value { name: name.to_string() });
        }
        variables.insert(name, value);
    }
    Ok(variables)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    /// Skips blanks and comments; whether anything follows.
    fn skip_to_assignment(&mut self) -> bool {
        while let Some(&next) = self.rest.peek() {
            if next == '#' || next == ';' {
                while self.next().is_some_and(|c| c != '\n') {}
            } else if next.is_whitespace() {
                self.next();
            } else {
                return true;
            }
        }
        false
    }

    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('=') => return Some(name.trim_end().to_owned()),
                Some('\n') | None => return None,
                Some(other) => name.push(other),
            }
        }
    }

    fn value(&mut self) -> Result<String, EnvironmentFileError> {
        let mut value = String::new();
        // Blanks at the end of an unquoted part do not count; `kept` is where those that count end.
        let mut kept = 0;
        while let Some(next) = self.next() {
            match next {
                '\n' => break,
                quote @ ('"' | '\'') => {
                    self.quoted(quote, &mut value)?;
                    kept = value.len();
                }
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped) => {
                        value.push(escaped);
                        kept = value.len();
                    }
                },
                blank if blank.is_whitespace() => {
                    if !value.is_empty() {
                        value.push(blank);
                    }
                }
                other => {
                    value.push(other);
                    kept = value.len();
                }
            }
        }
        value.truncate(kept);
        Ok(value)
    }

    fn quoted(&mut self, quote: char, value: &mut String) -> Result<(), EnvironmentFileError> {
        let line = self.line;
        loop {
            match self.next().ok_or(EnvironmentFileError::Unterminated { line })? {
                end if end == quote => return Ok(()),
                '\\' if quote == '"' => match self.next().ok_or(EnvironmentFileError::Unterminated { line })? {
                    '\n' => {}
                    special @ ('"' | '\\' | '`' | '$') => value.push(special),
                    other => value.extend(['\\', other]),
                },
                other => value.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VariableName {
        VariableName::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let nasty =
            ["", "a b", " lead and trail ", "$HOME `id` \"q\" 'q' \\ \\n", "-----BEGIN-----\nline\n-----END-----\n", "é\t%h", "a\\\nb"];
        let variables: BTreeMap<_, _> = nasty.iter().enumerate().map(|(i, v)| (name(&format!("V{i}")), (*v).to_owned())).collect();
        assert_eq!(parse(&render(&variables).unwrap()).unwrap(), variables);
    }

    #[test]
    fn reads_what_people_write() {
        let text = "# comment\n; too\n\nA=1\nB = two words  \nC='sin$gle\nlines'\nD=\"x\\$y\\z\"\nE=\nF=a\\\nb\nG=\"q\"tail\n";
        let read = parse(text).unwrap();
        let got: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let wanted = [("A", "1"), ("B", "two words"), ("C", "sin$gle\nlines"), ("D", "x$y\\z"), ("E", ""), ("F", "ab"), ("G", "qtail")];
        assert_eq!(got, wanted);
    }

    #[test]
    fn what_systemd_would_drop_is_refused() {
        assert_eq!(parse("A=1\nexport\n"), Err(EnvironmentFileError::NotAnAssignment { line: 2 }));
        assert!(matches!(parse("1A=x"), Err(EnvironmentFileError::Name { line: 1, .. })));
        assert!(matches!(parse("export A=x"), Err(EnvironmentFileError::Name { .. })));
        assert_eq!(parse("A=1\nB=\"x\n"), Err(EnvironmentFileError::Unterminated { line: 2 }));
        let nul = BTreeMap::from([(name("A"), "\0".to_owned())]);
        assert!(matches!(render(&nul), Err(EnvironmentFileError::Value { .. })));
    }
}
