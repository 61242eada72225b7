use super::*;
use roadstead_model::FailureKind;

fn name(text: &str) -> VariableName {
    VariableName::parse(text).unwrap()
}

fn secrets(values: &[(&str, &str)]) -> Secrets {
    Secrets::new(values.iter().map(|(variable, value)| (name(variable), (*value).to_owned())))
}

#[test]
fn values_are_named_and_not_shown() {
    let secrets = secrets(&[
        ("SECRET_KEY", "s3cr3t-key"),
        ("LONGER", "s3cr3t-key-and-more"),
        ("DATABASE_URL", "postgres://erp:hunter22@db/erp"),
        ("DEBUG", "True"),
        ("NAME", "Müller-Straße"),
        ("BACKSLASH", r"pass\word"),
    ]);
    for (text, shown) in [
        ("KeyError: 's3cr3t-key'", "KeyError: '[value of SECRET_KEY]'"),
        ("s3cr3t-key-and-mores3cr3t-key", "[value of LONGER][value of SECRET_KEY]"),
        ("cannot reach postgres://erp:hunter22@db/erp", "cannot reach [value of DATABASE_URL]"),
        ("password hunter22 is wrong", "password [value of DATABASE_URL] is wrong"),
        ("DEBUG is True", "DEBUG is True"),
        ("für Müller-Straße 5", "für [value of NAME] 5"),
        (r"ValueError: 'pass\\word'", "ValueError: '[value of BACKSLASH]'"),
        ("s3cr3t", "[value of SECRET_KEY]"),
        ("s3cr3t and s3cr3t-ke", "s3cr3t and [value of SECRET_KEY]"),
        ("uses postgres", "uses postgres"),
        ("", ""),
    ] {
        assert_eq!(secrets.hide(text), shown, "{text}");
    }
    assert!(!format!("{secrets:?}").contains("s3cr3t"));
}

#[test]
fn a_value_of_several_lines_is_hidden_line_by_line() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQEF\nend\n";
    let secrets = secrets(&[("KEY", key)]);
    let shown: Vec<_> = key.lines().map(|line| secrets.hide(line).into_owned()).collect();
    assert_eq!(shown, ["[value of KEY]", "[value of KEY]", "  [value of KEY]", "end"]);
}

#[test]
fn what_an_edge_left_of_a_value_is_hidden_too() {
    let value: String = (0..40).map(|n| char::from(b'a' + n % 26)).collect();
    let secrets = secrets(&[("TOKEN", &value)]);
    for kept in SHORTEST..value.len() {
        let line = format!("x={}{CUT}9 more bytes)", &value[..kept]);
        assert_eq!(secrets.hide(&line), format!("x=[value of TOKEN]{CUT}9 more bytes)"));
        // The head of a detail is cut off within the value.
        let whole = format!("{value}{}", "\n".repeat(limits::FAILURE_DETAIL_BYTES_MAX - kept));
        let hidden = secrets.hide_in(&Failure::new(FailureKind::Unit, "x", "").with_detail(&whole));
        // What stands for it may be longer, and is cut in its turn.
        assert!("[value of TOKEN]".ends_with(hidden.detail.trim_end()), "{kept}: {}", hidden.detail.trim_end());
        assert!(hidden.detail.len() <= limits::FAILURE_DETAIL_BYTES_MAX);
    }
}

#[test]
fn failures_are_hidden_in_all_their_parts() {
    let secrets = secrets(&[("SECRET_KEY", "s3cr3t-key")]);
    let failure = Failure::new(FailureKind::Command, "a s3cr3t-key", "b s3cr3t-key").with_detail("c s3cr3t-key\nd");
    let told = secrets.hide_in(&failure);
    assert_eq!((told.summary.as_str(), told.hint.as_str()), ("a [value of SECRET_KEY]", "b [value of SECRET_KEY]"));
    assert_eq!(told.detail, "c [value of SECRET_KEY]\nd");
}

#[test]
fn the_files_of_the_app_say_what_is_secret() {
    let root = tempfile::tempdir().unwrap();
    let (layout, app) = (Layout::new(root.path()), AppName::parse("erp").unwrap());
    assert_eq!(Secrets::read(&layout, &app).hide("s3cr3t-key"), "s3cr3t-key");
    let local = layout.host_variables(&app);
    std::fs::create_dir_all(local.parent().unwrap()).unwrap();
    std::fs::create_dir_all(layout.environment_files(&app)).unwrap();
    let root_path = layout.app(&app).display().to_string();
    std::fs::write(&local, format!("SECRET_KEY=\"s3cr3t-key\"\nMEDIA=\"{root_path}\"\n")).unwrap();
    std::fs::write(layout.environment_files(&app).join("1.0.env"), "SECRET_KEY=\"older-s3cr3t\"\nLANG=\"de_DE.UTF-8\"\n").unwrap();
    let secrets = Secrets::read(&layout, &app);
    let text = format!("s3cr3t-key older-s3cr3t de_DE.UTF-8 {root_path}/x");
    assert_eq!(secrets.hide(&text), format!("[value of SECRET_KEY] [value of SECRET_KEY] de_DE.UTF-8 {root_path}/x"));
    // A file that systemd would not take keeps its secrets all the same.
    std::fs::write(&local, "SECRET_KEY=\"unterminated-s3cr3t\nnot an assignment\n").unwrap();
    assert_eq!(Secrets::read(&layout, &app).hide("is unterminated-s3cr3t"), "is [value of SECRET_KEY]");
}
