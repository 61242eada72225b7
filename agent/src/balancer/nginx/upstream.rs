//! The file that nginx includes: written by the agent as a whole, and read again to know what is in effect. Pure.

use roadstead_model::{HostName, Weight};
use std::collections::BTreeMap;

use crate::balancer::Weights;
use crate::settings::NginxSettings;

/// What the first line of the agent's own files begins with.
const HEADER: &str = "# written by roadstead-agent";

/// One server of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// `host:port`.
    pub(super) address: String,
    /// Its share.
    pub(super) weight: Weight,
}

/// The servers of a file.
pub(super) type Lines = BTreeMap<HostName, Line>;

/// A file without the header is somebody else's.
pub(super) fn is_ours(text: &str) -> bool {
    text.is_empty() || text.starts_with(HEADER)
}

/// The servers that a file of the agent's names.
pub(super) fn read(text: &str) -> Lines {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(HostName, Line)> {
    let (directive, host) = line.trim().split_once("; # ")?;
    let mut words = directive.split_ascii_whitespace();
    let (Some("server"), Some(address), Some(share), None) = (words.next(), words.next(), words.next(), words.next()) else { return None };
    let weight = match share.strip_prefix("weight=") {
        Some(percent) => Weight::percent(percent.parse().ok()?).ok()?,
        None => (share == "down").then_some(Weight::DRAINED)?,
    };
    Some((HostName::parse(host).ok()?, Line { address: address.to_owned(), weight }))
}

/// The servers that a file is to have: those of the settings, with the share of the table, or else the one that they had.
pub(super) fn merged(settings: &NginxSettings, wanted: &Weights, known: &Lines) -> Lines {
    let line = |(host, address): (&HostName, &String)| {
        let weight = wanted.get(host).or_else(|| known.get(host).map(|line| &line.weight)).copied().unwrap_or(Weight::FULL);
        (host.clone(), Line { address: address.clone(), weight })
    };
    settings.servers.iter().map(line).collect()
}

/// The file.
pub(super) fn render(settings: &NginxSettings, lines: &Lines) -> String {
    let mut text = format!("{HEADER}: what it is told of shares of the traffic goes in here, and what is changed by hand is lost\n");
    text.push_str(&format!("upstream {} {{\n", settings.upstream));
    for option in &settings.options {
        text.push_str(&format!("    {option};\n"));
    }
    for (host, line) in lines {
        let share = if line.weight.takes() { format!("weight={}", line.weight.get()) } else { "down".to_owned() };
        text.push_str(&format!("    server {} {share}; # {host}\n", line.address));
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn settings() -> NginxSettings {
        NginxSettings {
            upstream: "shop".into(),
            file: PathBuf::from("/etc/nginx/conf.d/roadstead-shop.conf"),
            servers: [("web-1", "10.0.0.11:8080"), ("web-2", "web-2:80"), ("web-3", "web-3:80")]
                .map(|(name, at)| (host(name), at.to_owned()))
                .into(),
            options: vec!["least_conn".into(), "keepalive 32".into()],
        }
    }

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn weights(of: &[(&str, u32)]) -> Weights {
        of.iter().map(|(name, percent)| (host(name), Weight::percent(*percent).unwrap())).collect()
    }

    #[test]
    fn the_file_holds_the_shares_and_reads_the_same() {
        let lines = merged(&settings(), &weights(&[("web-1", 100), ("web-2", 0), ("web-3", 5)]), &Lines::new());
        let text = render(&settings(), &lines);
        insta::assert_snapshot!(text);
        assert!(is_ours(&text));
        assert_eq!(read(&text), lines);
    }

    #[test]
    fn what_the_table_does_not_name_stays() {
        let text = render(&settings(), &merged(&settings(), &weights(&[("web-1", 100), ("web-2", 0)]), &Lines::new()));
        let lines = merged(&settings(), &weights(&[("web-1", 50)]), &read(&text));
        assert_eq!(lines[&host("web-1")].weight, Weight::percent(50).unwrap());
        assert_eq!(lines[&host("web-2")], Line { address: "web-2:80".into(), weight: Weight::DRAINED });
    }

    /// Whoever tells the table says who gets how much, and never where that is.
    #[test]
    fn no_table_brings_an_address() {
        let evil = weights(&[("web-1", 0), ("203.0.113.5", 100), ("evil.example.com", 100)]);
        let known = BTreeMap::from([(host("old.example.com"), Line { address: "old.example.com:80".into(), weight: Weight::FULL })]);
        let lines = merged(&settings(), &evil, &known);
        assert_eq!(lines.keys().map(HostName::as_str).collect::<Vec<_>>(), ["web-1", "web-2", "web-3"]);
    }

    #[test]
    fn lines_of_other_forms_are_none_of_ours() {
        for text in [
            "server 10.0.0.1:80;",
            "server 10.0.0.1:80 weight=5 backup; # web-1",
            "server 10.0.0.1:80 weight=101; # web-1",
            "server 10.0.0.1:80 weight=; # web-1",
            "server 10.0.0.1:80 up; # web-1",
            "server 10.0.0.1:80 down; # web 1",
            "# server 10.0.0.1:80 down; # web-1",
            "\u{0}",
        ] {
            assert_eq!(read(text), Lines::new(), "{text}");
        }
        assert!(!is_ours("upstream shop {\n") && is_ours(""));
    }
}
