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

/// Why an order may not set a variable of this name, even when the manifest declares it; `None` when it may.
///
/// These change which code runs or where it comes from: the loader's, Python's, the servers', the installers', the shells'.
pub(crate) fn dangerous(name: &VariableName) -> Option<&'static str> {
    const PREFIXES: &[(&str, &str)] = &[
        ("LD_", "it steers the dynamic loader"),
        ("DYLD_", "it steers the dynamic loader"),
        ("MALLOC_", "it steers the allocator"),
        ("PYTHON", "it steers which code Python loads"),
        ("GUNICORN_", "it can name code that gunicorn loads"),
        ("UVICORN_", "it can name code that uvicorn loads"),
        ("HYPERCORN_", "it can name code that the server loads"),
        ("DAPHNE_", "it steers the server"),
        ("CELERY_RDB", "it opens a debugger"),
        ("PIP_", "it steers where packages come from"),
        ("UV_", "it steers where packages come from"),
        ("POETRY_", "it steers where packages come from"),
        ("PG", "it can name libraries and services of PostgreSQL's client"),
        ("LIBMYSQL_", "it names code that MySQL's client loads"),
        ("ODBC", "it names code that the database's client loads"),
        ("GIT_", "it can name programs that git runs"),
        ("PERL", "it steers which code Perl loads"),
        ("RUBY", "it steers which code Ruby loads"),
        ("NODE_", "it steers which code Node.js loads"),
        ("GCONV_", "it names code that the C library loads"),
        ("GIO_", "it names code that GLib loads"),
        ("GTK_", "it names code that GTK loads"),
        ("QT_", "it names code that Qt loads"),
        ("MAGICK_", "it names code that ImageMagick loads"),
        ("GDAL_DRIVER", "it names code that GDAL loads"),
        ("SSL_CERT_", "it changes who is trusted"),
        ("ROADSTEAD_", "the agent sets it"),
        ("BASH_FUNC_", "it is code of a shell"),
        ("LISTEN_", "systemd sets it"),
    ];
    const NAMES: &[(&str, &str)] = &[
        ("PATH", "it steers which programs run"),
        ("HOME", "the agent sets it"),
        ("USER", "the agent sets it"),
        ("LOGNAME", "the agent sets it"),
        ("SHELL", "it names a program"),
        ("EDITOR", "it names a program"),
        ("VISUAL", "it names a program"),
        ("PAGER", "it names a program"),
        ("LESSOPEN", "it names a program"),
        ("LESSCLOSE", "it names a program"),
        ("BASH_ENV", "it names code of a shell"),
        ("ENV", "it names code of a shell"),
        ("SHELLOPTS", "it steers shells"),
        ("BASHOPTS", "it steers shells"),
        ("IFS", "it changes how shells read words"),
        ("PS4", "it is code of a shell"),
        ("PROMPT_COMMAND", "it is code of a shell"),
        ("GLIBC_TUNABLES", "it steers the C library"),
        ("GETCONF_DIR", "it names programs that the C library runs"),
        ("LOCPATH", "it names files that the C library loads"),
        ("NLSPATH", "it names files that the C library loads"),
        ("HOSTALIASES", "it changes who is reached under a name"),
        ("LOCALDOMAIN", "it changes who is reached under a name"),
        ("RES_OPTIONS", "it changes who is reached under a name"),
        ("NOTIFY_SOCKET", "systemd sets it"),
        ("WATCHDOG_USEC", "systemd sets it"),
        ("WATCHDOG_PID", "systemd sets it"),
        ("CREDENTIALS_DIRECTORY", "systemd sets it"),
        ("OPENSSL_CONF", "it names code that OpenSSL loads"),
        ("OPENSSL_MODULES", "it names code that OpenSSL loads"),
        ("OPENSSL_ENGINES", "it names code that OpenSSL loads"),
        ("SSLKEYLOGFILE", "it gives away the keys of encrypted connections"),
        ("REQUESTS_CA_BUNDLE", "it changes who is trusted"),
        ("CURL_CA_BUNDLE", "it changes who is trusted"),
        ("WEB_CONCURRENCY", "the manifest sets the number of workers"),
        ("CELERY_CONFIG_MODULE", "it names code that celery loads"),
        ("CELERY_LOADER", "it names code that celery loads"),
        ("CELERY_APP", "it names code that celery loads"),
        ("C_FORCE_ROOT", "it switches off a guard of celery's"),
        ("COVERAGE_PROCESS_START", "it names code that Python loads"),
        ("FLASK_APP", "it names code"),
        ("JAVA_TOOL_OPTIONS", "it names code that Java loads"),
        ("_JAVA_OPTIONS", "it names code that Java loads"),
        ("VIRTUAL_ENV", "the agent sets it"),
        ("DJANGO_SETTINGS_MODULE", "the manifest sets it: it names code"),
    ];
    let upper = name.as_str().to_ascii_uppercase();
    let by_name = NAMES.iter().find(|(forbidden, _)| upper == *forbidden);
    by_name.or_else(|| PREFIXES.iter().find(|(prefix, _)| upper.starts_with(prefix))).map(|(_, why)| *why)
}

/// Names that no order may set: one for every way in that is known.
#[cfg(test)]
pub(crate) const DANGEROUS: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "ld_preload",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONBREAKPOINT",
    "PYTHONWARNINGS",
    "PYTHONPYCACHEPREFIX",
    "pythonpath",
    "PATH",
    "GUNICORN_CMD_ARGS",
    "UVICORN_APP",
    "HYPERCORN_BIND",
    "DAPHNE_ROOT_PATH",
    "WEB_CONCURRENCY",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CONFIG_FILE",
    "UV_INDEX",
    "UV_INDEX_URL",
    "POETRY_HOME",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGOPTIONS",
    "PGSSLROOTCERT",
    "LIBMYSQL_PLUGIN_DIR",
    "ODBCSYSINI",
    "BASH_ENV",
    "ENV",
    "BASH_FUNC_ls",
    "IFS",
    "PS4",
    "PROMPT_COMMAND",
    "SHELLOPTS",
    "DJANGO_SETTINGS_MODULE",
    "CELERY_CONFIG_MODULE",
    "CELERY_LOADER",
    "CELERY_APP",
    "CELERY_RDBSIG",
    "C_FORCE_ROOT",
    "FLASK_APP",
    "COVERAGE_PROCESS_START",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "MALLOC_CONF",
    "HOSTALIASES",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "SSL_CERT_FILE",
    "SSLKEYLOGFILE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSH_COMMAND",
    "PERL5OPT",
    "RUBYOPT",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "EDITOR",
    "PAGER",
    "LESSOPEN",
    "SHELL",
    "ROADSTEAD_RELEASE",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "HOME",
    "USER",
    "VIRTUAL_ENV",
];

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

    #[test]
    fn no_order_sets_what_steers_code() {
        for bad in DANGEROUS {
            assert!(dangerous(&name(bad)).is_some(), "{bad}");
        }
        for good in ["SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "DEBUG", "ENVIRONMENT", "PATHS", "UVX", "CELERY_BROKER_URL"] {
            assert!(dangerous(&name(good)).is_none(), "{good}");
        }
    }
}
