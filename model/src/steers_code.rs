//! Variables whose values decide which code runs: no environment sets them, whatever a release declares. Pure.

use crate::VariableName;

/// Why an order may not set a variable of this name, even when the manifest declares it; `None` when it may.
///
/// These change which code runs or where it comes from: the loader's, Python's, the servers', the installers', the shells'.
#[must_use]
pub fn steers_code(name: &VariableName) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that no order may set: one for every way in that is known.
    const DANGEROUS: &[&str] = &[
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

    #[test]
    fn no_order_sets_what_steers_code() {
        for bad in DANGEROUS {
            assert!(steers_code(&VariableName::parse(bad).unwrap()).is_some(), "{bad}");
        }
        for good in ["SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "DEBUG", "ENVIRONMENT", "PATHS", "UVX", "CELERY_BROKER_URL"] {
            assert!(steers_code(&VariableName::parse(good).unwrap()).is_none(), "{good}");
        }
    }
}
