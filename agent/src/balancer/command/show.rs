//! What the operator's command prints when it is asked to `show`: a line `HOST PERCENT up|down IN_FLIGHT` for each host.

use roadstead_model::{HostName, ServerSeen, Weight, limits};
use std::collections::BTreeMap;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of its output, {text:?}, is not `HOST PERCENT up|down IN_FLIGHT`: {why}")]
pub(crate) struct Unreadable {
    line: usize,
    text: String,
    why: String,
}

/// The hosts that it prints. Empty lines and those that begin with `#` are passed over.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<HostName, ServerSeen>, Unreadable> {
    let mut hosts = BTreeMap::new();
    for (at, text) in lines.into_iter().enumerate() {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let wrong = |why: String| Unreadable { line: at + 1, text: trimmed.chars().take(80).collect(), why };
        let (host, seen) = line(trimmed).map_err(wrong)?;
        if hosts.insert(host, seen).is_some() {
            return Err(wrong("the host is there twice".to_owned()));
        }
        if hosts.len() > limits::HOSTS_PER_ROLLOUT_MAX {
            return Err(wrong(format!("there are more than {} hosts", limits::HOSTS_PER_ROLLOUT_MAX)));
        }
    }
    Ok(hosts)
}

fn line(text: &str) -> Result<(HostName, ServerSeen), String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let &[host, percent, health, in_flight] = words.as_slice() else {
        return Err(format!("it has {} words", words.len()));
    };
    let host = HostName::parse(host).map_err(|error| error.to_string())?;
    let percent = number(percent)?;
    let weight = Weight::percent(percent).map_err(|error| error.to_string())?;
    let up = match health {
        "up" => true,
        "down" => false,
        _ => return Err("the third word is up or down".to_owned()),
    };
    Ok((host, ServerSeen { weight, up, in_flight: number(in_flight)? }))
}

fn number(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("{:?} is no number", text.chars().take(40).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<BTreeMap<HostName, ServerSeen>, String> {
        read(text.lines()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_for_each_host_is_read() {
        let hosts = of("# group blog\nweb-1 100 up 12\n\n  web-2\t0 down 0  \n").unwrap();
        let seen = |percent, up, in_flight| ServerSeen { weight: Weight::percent(percent).unwrap(), up, in_flight };
        assert_eq!(hosts.into_values().collect::<Vec<_>>(), [seen(100, true, 12), seen(0, false, 0)]);
        assert!(of("").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut told = String::new();
        for text in [
            "web-1 100 up",
            "web-1 100 up 1 2",
            "web-1 101 up 1",
            "web-1 +1 up 1",
            "web-1 100 UP 1",
            "web-1 100 up -1",
            "web-1 100 up 99999999999",
            "web_1 100 up 1",
            "web-1 1 up 1\nTraceback (most recent call last):",
            "web-1 1 up 1\nweb-1 1 up 1",
            "\u{1b}[31m 1 up 1",
        ] {
            told.push_str(&of(text).unwrap_err());
            told.push('\n');
        }
        insta::assert_snapshot!(told);
        let many: String = (0..=limits::HOSTS_PER_ROLLOUT_MAX).map(|n| format!("h{n} 1 up 1\n")).collect();
        assert!(of(&many).unwrap_err().contains("more than"));
    }
}
