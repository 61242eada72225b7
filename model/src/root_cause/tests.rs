use super::*;
use proptest::prelude::*;

const RELEASE: &str = "/srv/roadstead/erp/releases/1.1.0-0123456789ab";
const SITE: &str = "/srv/roadstead/erp/venvs/abc-3.11-x86_64/lib/python3.11/site-packages";

/// What is read of an output in which `R` is the release and `S` the folder of packages.
fn raised(output: &str) -> String {
    let output = output.replace("\"R/", &format!("\"{RELEASE}/")).replace("\"S/", &format!("\"{SITE}/"));
    RootCause::raised_in(&output).map(|root| root.to_string()).unwrap_or_default()
}

fn of(kind: FailureKind, detail: &str) -> Option<String> {
    RootCause::of(&Failure::new(kind, "it failed", "").with_detail(detail)).map(|root| root.to_string())
}

#[test]
fn an_import_that_fails_while_gunicorn_boots() {
    let output = r#"[2026-03-01 10:00:00 +0000] [812] [INFO] Starting gunicorn 23.0.0
[2026-03-01 10:00:00 +0000] [812] [INFO] Listening at: unix:/run/roadstead/erp/web/1.1.0-0123456789ab.sock (812)
[2026-03-01 10:00:00 +0000] [815] [INFO] Booting worker with pid: 815
[2026-03-01 10:00:01 +0000] [815] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "S/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
  File "S/gunicorn/util.py", line 371, in import_app
    mod = importlib.import_module(module)
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
  File "<frozen importlib._bootstrap>", line 1206, in _gcd_import
  File "R/erp/wsgi.py", line 16, in <module>
    application = get_wsgi_application()
  File "S/django/conf/__init__.py", line 217, in __init__
    mod = importlib.import_module(self.SETTINGS_MODULE)
  File "R/erp/settings.py", line 12, in <module>
    import x
ModuleNotFoundError: No module named 'x'
[2026-03-01 10:00:01 +0000] [815] [INFO] Worker exiting (pid: 815)
[2026-03-01 10:00:01 +0000] [812] [ERROR] Worker (pid:815) exited with code 3
Traceback (most recent call last):
  File "S/gunicorn/arbiter.py", line 208, in run
    self.handle_usr1()
  File "S/gunicorn/arbiter.py", line 527, in reap_workers
    raise HaltServer(reason, self.WORKER_BOOT_ERROR)
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
[2026-03-01 10:00:01 +0000] [812] [ERROR] Shutting down: Master
[2026-03-01 10:00:01 +0000] [812] [ERROR] Reason: Worker failed to boot.
"#;
    assert_eq!(raised(output), "ModuleNotFoundError: No module named 'x' at erp/settings.py:12");
}

#[test]
fn a_server_that_says_nothing_else_is_believed() {
    let output = r#"Traceback (most recent call last):
  File "S/gunicorn/arbiter.py", line 208, in run
    self.manage_workers()
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
"#;
    assert_eq!(raised(output), "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>");
    let logged = "[2026-03-01 10:00:01 +0000] [812] [INFO] x\n[2026-03-01 10:00:01 +0000] [812] [ERROR] Reason: Worker failed to boot.\n[2026] [INFO] bye\n";
    assert_eq!(of(FailureKind::Unit, logged).unwrap(), "Reason: Worker failed to boot.");
    let uvicorn = "INFO:     Started\nERROR:    Error loading ASGI app. Could not import module \"erp.asgi\".\n";
    assert_eq!(of(FailureKind::Unit, uvicorn).unwrap(), "Error loading ASGI app. Could not import module \"erp.asgi\".");
    let killed = "[INFO] Booting\nerp-web@1.service: Main process exited, code=killed, status=9/KILL\n[INFO] Booting\n";
    assert_eq!(of(FailureKind::Unit, killed).unwrap(), "Main process exited, code=killed, status=9/KILL");
    assert_eq!(of(FailureKind::Unit, "all is well\n"), None, "no line of a unit that is no error says why it died");
}

#[test]
fn the_first_of_a_chain_that_passed_the_apps_own_code_is_the_root() {
    let output = r#"Traceback (most recent call last):
  File "R/manage.py", line 11, in main
    from django.core.management import execute_from_command_line
ModuleNotFoundError: No module named 'django'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "R/manage.py", line 22, in <module>
    main()
  File "R/manage.py", line 13, in main
    raise ImportError(
ImportError: Couldn't import Django. Are you sure it's installed and available on your PYTHONPATH environment variable?
"#;
    assert_eq!(raised(output), "ModuleNotFoundError: No module named 'django' at manage.py:11");
    let environ = r#"Traceback (most recent call last):
  File "S/environ/environ.py", line 392, in get_value
    value = self.ENVIRON[var_name]
            ~~~~~~~~~~~~^^^^^^^^^^
  File "<frozen os>", line 679, in __getitem__
KeyError: 'SECRET_KEY'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "R/manage.py", line 22, in <module>
    main()
  File "S/django/conf/__init__.py", line 76, in _setup
    self._wrapped = Settings(settings_module)
  File "R/config/settings/production.py", line 8, in <module>
    SECRET_KEY = env("SECRET_KEY")
  File "S/environ/environ.py", line 396, in get_value
    raise ImproperlyConfigured(error_msg) from exc
django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable
"#;
    let told = "django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable at config/settings/production.py:8";
    assert_eq!(raised(environ), told);
}

#[test]
fn what_nobodys_code_raised_is_the_last_of_its_chain() {
    let output = r#"Traceback (most recent call last):
  File "S/django/db/backends/base/base.py", line 289, in ensure_connection
    self.connect()
  File "S/psycopg2/__init__.py", line 122, in connect
    conn = _connect(dsn, connection_factory=connection_factory, **kwasync)
psycopg2.OperationalError: connection to server at "10.0.0.5", port 5432 failed: Connection refused
	Is the server running on that host and accepting TCP/IP connections?


The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<string>", line 21, in <module>
  File "S/django/db/backends/base/base.py", line 270, in ensure_connection
    self.connect()
django.db.utils.OperationalError: connection to server at "10.0.0.5", port 5432 failed: Connection refused
	Is the server running on that host and accepting TCP/IP connections?

"#;
    let told = "django.db.utils.OperationalError: connection to server at \"10.0.0.5\", port 5432 failed: Connection refused";
    assert_eq!(raised(output), told);
}

#[test]
fn during_handling_of_several_exceptions() {
    let mut output = String::new();
    for depth in 0..40 {
        output.push_str(&format!("Traceback (most recent call last):\n  File \"R/a.py\", line {}, in f\n    f()\nKeyError: {depth}\n\nDuring handling of the above exception, another exception occurred:\n\n", depth + 1));
    }
    output.push_str("Traceback (most recent call last):\n  File \"R/b.py\", line 7, in g\nRuntimeError: too deep\n");
    assert_eq!(raised(&output), "KeyError: 0 at a.py:1");
}

#[test]
fn syntax_errors_have_a_form_of_their_own() {
    let told = "SyntaxError: '(' was never closed at erp/settings.py:12";
    let imported = r#"Traceback (most recent call last):
  File "R/manage.py", line 22, in <module>
    main()
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "R/erp/settings.py", line 12
    DATABASES = dict(
                    ^
SyntaxError: '(' was never closed
"#;
    assert_eq!(raised(imported), told);
    let run = "  File \"R/erp/settings.py\", line 12\n    DATABASES = dict(\n                    ^\nSyntaxError: '(' was never closed\n";
    assert_eq!(raised(run), told);
    let indented = "  File \"R/erp/a.py\", line 3\n    x\nIndentationError: unexpected indent\n";
    assert_eq!(raised(indented), "IndentationError: unexpected indent at erp/a.py:3");
    let older = "  File \"R/erp/a.py\", line 3\n    print x\n          ^\nSyntaxError: invalid syntax\n";
    assert_eq!(raised(older), "SyntaxError: invalid syntax at erp/a.py:3");
}

#[test]
fn migrations_fail_at_their_own_line() {
    let output = r#"Operations to perform:
  Apply all migrations: sales
Running migrations:
  Applying sales.0003_bad...Traceback (most recent call last):
  File "S/django/db/backends/utils.py", line 105, in _execute
    return self.cursor.execute(sql, params)
psycopg.errors.DuplicateColumn: column "total" of relation "sales_order" already exists

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<string>", line 31, in <module>
  File "R/sales/migrations/0003_bad.py", line 14, in forwards
    schema_editor.execute(SQL)
  File "S/django/db/utils.py", line 91, in __exit__
    raise dj_exc_value.with_traceback(traceback) from exc_value
django.db.utils.ProgrammingError: column "total" of relation "sales_order" already exists
"#;
    let told =
        "django.db.utils.ProgrammingError: column \"total\" of relation \"sales_order\" already exists at sales/migrations/0003_bad.py:14";
    assert_eq!(raised(output), told);
}

#[test]
fn what_a_message_announces_belongs_to_it() {
    let check = "SystemCheckError: System check identified some issues:\n\nERRORS:\nsales.Order.customer: (fields.E300) Field defines a relation with model 'Nobody', which is either not installed, or is abstract.\n\nSystem check identified 1 issue (0 silenced).\n";
    let told = raised(check);
    assert!(told.starts_with("SystemCheckError: System check identified some issues: sales.Order.customer: (fields.E300) Field"), "{told}");
    let celery = "Usage: celery [OPTIONS] COMMAND [ARGS]...\nTry 'celery --help' for help.\n\nError: Invalid value for '-A' / '--app': \nUnable to load celery application.\nThe module erp.celery was not found.\n";
    assert_eq!(raised(celery), "Error: Invalid value for '-A' / '--app': Unable to load celery application.");
    let empty = "Traceback (most recent call last):\n  File \"R/a.py\", line 2, in f\nValueError:\n  the whole story\n  and more\n";
    assert_eq!(raised(empty), "ValueError: the whole story at a.py:2");
}

#[test]
fn exceptions_of_every_name_end_a_traceback() {
    let cases = [
        ("django.core.exceptions.AppRegistryNotReady: Apps aren't loaded yet.", ""),
        ("sales.models.Customer.DoesNotExist: Customer matching query does not exist.", ""),
        ("botocore.exceptions.NoCredentialsError: Unable to locate credentials", ""),
        ("celery.exceptions.NotRegistered: 'erp.tasks.bill'", ""),
        ("kombu.exceptions.OperationalError: [Errno 111] Connection refused", ""),
        ("django.http.response.Http404", ""),
        ("StopIteration", ""),
        ("AssertionError", ""),
        ("_queue.Empty", ""),
        ("erp.errors.Überlauf: zu viel", ""),
        ("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", ""),
        ("RecursionError: maximum recursion depth exceeded", "  [Previous line repeated 980 more times]\n"),
        ("PermissionError: [Errno 13] Permission denied: '/var/log/erp.log'", ""),
        ("TypeError: f() missing 1 required positional argument: 'x'", "INFO:     127.0.0.1 - GET /\nERROR: of another process\n"),
    ];
    for (exception, between) in cases {
        let output = format!("Traceback (most recent call last):\n  File \"R/erp/a.py\", line 5, in f\n    g()\n{between}{exception}\n");
        assert_eq!(raised(&output), format!("{exception} at erp/a.py:5"));
    }
}

#[test]
fn what_the_runner_of_migrations_says_comes_before_what_helps() {
    let detail = "Running migrations:\nroadstead failed: the database is reached through a pooler that shares sessions\n\
                  roadstead next: let the migration's settings name the database itself\n";
    let failure = Failure::new(FailureKind::Command, "'migrate' ended with exit status 1", "see its last output").with_detail(detail);
    let cause = RootCause::of(&failure).unwrap();
    assert_eq!(cause.to_string(), "the database is reached through a pooler that shares sessions");
}

#[test]
fn groups_of_exceptions_are_read_through_their_frame() {
    let output = r#"  + Exception Group Traceback (most recent call last):
  |   File "R/erp/asgi.py", line 9, in startup
  |     async with asyncio.TaskGroup() as group:
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "R/erp/cache.py", line 31, in warm
    |     await client.ping()
    | redis.exceptions.ConnectionError: Error 111 connecting to cache:6379. Connection refused.
    +------------------------------------
"#;
    assert_eq!(
        raised(output),
        "redis.exceptions.ConnectionError: Error 111 connecting to cache:6379. Connection refused. at erp/cache.py:31"
    );
}

#[test]
fn of_several_tracebacks_the_last_counts_and_a_lost_head_does_not_matter() {
    let logged = "Internal Server Error: /healthz\nTraceback (most recent call last):\n  File \"R/a.py\", line 1, in f\nKeyError: 'a'\n";
    let ended = "Traceback (most recent call last):\n  File \"R/b.py\", line 2, in f\nKeyError: 'b'\nCommandError: see above\n";
    assert_eq!(raised(&format!("{logged}{ended}")), "KeyError: 'b' at b.py:2");
    let cut = "ne 3, in g\n    g()\n  File \"R/c.py\", line 3, in h\n    h()\nKeyError: 'c'\n";
    assert_eq!(raised(cut), "KeyError: 'c' at c.py:3");
    assert_eq!(raised("Traceback (most recent call last):\n  File \"R/c.py\", line 3, in h\n"), "", "it did not come to its end");
}

#[test]
fn an_exception_may_be_named_without_a_traceback() {
    assert_eq!(raised("CommandError: Unknown command: 'bill'. Type 'manage.py help' for usage.\n").matches("bill").count(), 1);
    assert_eq!(
        raised("django.db.utils.OperationalError: FATAL:  no such role\n"),
        "django.db.utils.OperationalError: FATAL:  no such role"
    );
    for line in
        ["  KeyError: indented", "[2026] Error: x", "Error 5: x y", "", "something went wrong", "a..Error: x", "http://Error: x", "done"]
    {
        assert_eq!(raised(line), "", "{line}");
    }
}

#[test]
fn commands_without_python_are_known_by_their_last_words() {
    assert_eq!(of(FailureKind::Command, "building\nnpm error: missing script: build\n\n").unwrap(), "npm error: missing script: build");
    assert_eq!(of(FailureKind::Command, "ERROR: could not open requirements.txt\nbye\n").unwrap(), "could not open requirements.txt");
    assert_eq!(of(FailureKind::Command, "one\ntwo\n\n").unwrap(), "two");
    assert_eq!(of(FailureKind::Command, " \n"), None);
    assert_eq!(of(FailureKind::Check, "fatal: of another request\n"), None);
    assert_eq!(of(FailureKind::Deadline, "KeyError: 1\n"), None, "it would have gone on");
}

#[test]
fn files_are_the_apps_own_or_not() {
    for (path, own) in [
        ("/srv/roadstead/erp/releases/1.0.0-0123456789ab/erp/settings.py", Some("erp/settings.py")),
        ("/srv/roadstead/erp/current/manage.py", Some("manage.py")),
        ("/srv/roadstead/erp/releases/1.0.0-0123456789ab/bin/job.py", Some("bin/job.py")),
        ("/srv/roadstead/erp/releases/1.0.0-0123456789ab/releases/models.py", Some("releases/models.py")),
        ("/srv/roadstead/erp/shared/local_settings.py", Some("/srv/roadstead/erp/shared/local_settings.py")),
        ("./erp/a.py", Some("erp/a.py")),
        ("erp/a.py", Some("erp/a.py")),
        ("/srv/roadstead/erp/venvs/x/bin/gunicorn", None),
        ("/srv/roadstead/erp/releases/1.0.0-0123456789ab/lib/python3.11/site-packages/django/a.py", None),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", None),
        ("/usr/local/lib/python3.12/json/decoder.py", None),
        ("<string>", None),
        ("<frozen importlib._bootstrap>", None),
        ("", None),
    ] {
        assert_eq!(path::own(path), own, "{path}");
    }
}

#[test]
fn what_differs_from_host_to_host_only_is_left_out() {
    let same = [
        ("web-1", "cannot bind 10.0.0.1:8000 (pid 812) at 2026-03-01 10:00:00,123 for web-1: gone"),
        ("web-22", "cannot bind 10.0.0.22:8000 (pid 4711) at 2026-03-01 10:00:09,7 for web-22: gone"),
        ("db", "cannot bind 192.168.1.9:8000 (pid 1) at 2026-03-02 00:00:00 for db: gone"),
    ];
    for (host, text) in same {
        assert_eq!(likeness(text, host), "cannot bind # (pid #) at # for HOST: gone", "{host}");
    }
    assert_eq!(likeness("/srv/erp/releases/1.1.0-0123456789ab/x at 0x7f3a2b1c", ""), "/srv/erp/releases/#/x at #");
    assert_eq!(likeness("blob 1f2e3d4c5b6a7988 of x1 in 0003_more", ""), "blob # of x1 in 0003_more");
    assert_ne!(likeness("No module named 'x1'", "web"), likeness("No module named 'x2'", "web"));
    assert_eq!(likeness("webber on web", "web"), "webber on HOST");
    let at = |line| RootCause { exception: "KeyError".into(), message: "'a'".into(), place: Some(Place { path: "a.py".into(), line }) };
    assert_ne!(at(1).likeness("web"), at(2).likeness("web"), "the same words at another place are another cause");
}

/// Lines that mean something, in any order, cut anywhere.
fn outputs() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("Traceback (most recent call last):".to_owned()),
        Just("During handling of the above exception, another exception occurred:".to_owned()),
        Just("The above exception was the direct cause of the following exception:".to_owned()),
        Just("gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>".to_owned()),
        "  (\\| )?File \"[a-z/<>\\.]{0,40}\", line [0-9]{0,12}(, in f)?",
        "[A-Za-zÄ_.]{0,20}(Error|Exception)?:? ?\\PC{0,20}:?",
        "\\PC{0,60}",
        ".{0,30}",
    ];
    proptest::collection::vec(line, 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn whatever_was_printed_is_read_and_what_comes_of_it_is_small(output in outputs(), host in "[a-z0-9-]{0,8}") {
        for kind in [FailureKind::Command, FailureKind::Unit, FailureKind::Check] {
            let Some(root) = RootCause::of(&Failure::new(kind, "x", "").with_detail(&output)) else { continue };
            let text = root.to_string();
            prop_assert!(text.chars().count() <= 3 * (PART_CHARS_MAX + 20) && !text.chars().any(char::is_control), "{text:?}");
            prop_assert!(!text.is_empty());
            prop_assert!(root.likeness(&host).len() <= text.len() + 2 + 4 * root.message.len());
        }
        prop_assert_eq!(likeness(&likeness(&output, ""), ""), likeness(&output, ""), "what is alike stays so");
    }

    #[test]
    fn only_the_end_is_looked_at(output in outputs(), line in "[a-z]{1,40}\n") {
        // However long the text is, as much of it is read: what lies before that changes nothing.
        let filler = line.repeat(LOOKED_AT_BYTES / line.len() + 1);
        let of = |before: &str| RootCause::raised_in(&format!("{before}{filler}{output}"));
        prop_assert_eq!(of(""), of("Traceback (most recent call last):\n  File \"/a.py\", line 1, in f\nFirstError: x\n"));
    }
}
