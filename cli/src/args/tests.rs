use super::*;
use clap::CommandFactory;
use std::path::Path;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// Every command that can be run, with the words that lead to it.
fn leaves(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
    let below: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    visit(path, command);
    for sub in below {
        leaves(sub, &format!("{path} {}", sub.get_name()), visit);
    }
}

#[test]
fn every_command_shows_how_it_is_used() {
    leaves(&Cli::command(), "roadstead", &mut |path, command| {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Example"), "`{path} --help` has no example:\n{help}");
        assert!(command.get_about().is_some(), "`{path}` does not say what it does");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "`{path}`: {} does not say what it is", argument.get_id());
        }
    });
}

/// Examples are words that this command line takes.
#[test]
fn every_example_is_taken() {
    leaves(&Cli::command(), "roadstead", &mut |_, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter_map(|line| line.trim().strip_prefix("roadstead ")) {
            let words = line.split(" > ").next().unwrap_or(line).split("   ").next().unwrap_or(line);
            let taken = Cli::try_parse_from(std::iter::once("roadstead".to_owned()).chain(words_of(words)));
            assert!(taken.is_ok(), "roadstead {line}: {}", taken.err().map(|error| error.to_string()).unwrap_or_default());
        }
    });
}

/// Words as a shell sees them, with single quotes.
fn words_of(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// The reference, made from the command line itself.
fn reference() -> String {
    let mut text = "# The roadstead command\n\nMade from the command itself; `make docs` writes it anew.\n".to_owned();
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    leaves(&root, "roadstead", &mut |path, command| {
        let help = command.clone().term_width(100).color(clap::ColorChoice::Never).render_long_help().to_string();
        let trimmed: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## {path}\n\n```text\n{}\n```\n", trimmed.join("\n")));
    });
    text
}

#[test]
fn the_reference_is_what_the_command_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let now = reference();
    if std::env::var_os("ROADSTEAD_WRITE_DOCS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "docs/cli.md is not what the command says of itself: run `make docs`");
}

#[test]
fn mistakes_on_the_command_line_are_usage() {
    for words in [
        &["deploy"][..],
        &["deploy", "staging"],
        &["rollout", "show", "17x"],
        &["host", "token", "--env", "s", "--ttl", "5"],
        &["nonsense"],
    ] {
        let error = Cli::try_parse_from(["roadstead"].iter().chain(words)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}: {error}");
    }
}
