//! Values that have a form of their own: times, sizes, modules.

use roadstead_model::Millis;

/// Reads `90s`, `5m`, `2h`, `250ms`.
pub(super) fn duration(text: &str) -> Result<Millis, String> {
    let wrong = || format!("{:?} is no time; write it as \"30s\", \"5m\" or \"1h\"", shown(text));
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
    if (1..=24 * 3_600_000).contains(&millis) { Ok(Millis(millis)) } else { Err("a time is between 1ms and 24h".to_owned()) }
}

/// Reads `512M`, `2G`, `64K`: powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{:?} is no size; write it as \"512M\" or \"2G\"", shown(text));
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)?;
    if bytes >= 1 << 20 { Ok(bytes) } else { Err("less than 1M of memory runs nothing".to_owned()) }
}

/// A dotted module, with an attribute behind `:` when `attribute` is wanted.
pub(super) fn module(text: &str, attribute: bool) -> Result<String, String> {
    let (module, after) = match text.split_once(':') {
        Some((module, after)) => (module, Some(after)),
        None => (text, None),
    };
    let name = |part: &str| {
        !part.is_empty() && !part.starts_with(|c: char| c.is_ascii_digit()) && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let good =
        text.len() <= 200 && module.split('.').all(name) && after.is_none_or(|after| after.trim_end_matches("()").split('.').all(name));
    if good && (attribute || after.is_none()) {
        return Ok(text.to_owned());
    }
    let example = if attribute { "config.wsgi:application" } else { "config.settings" };
    Err(format!("{:?} is no module; write it as \"{example}\"", shown(text)))
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!((duration("250ms"), duration("5m")), (Ok(Millis(250)), Ok(Millis(300_000))));
        assert_eq!((size("512M"), size("2G")), (Ok(512 << 20), Ok(2 << 30)));
        for bad in ["", "5", "m", "-1s", "1d", "99999999999999999999h", "25h", "0s", "1.5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "512", "512MB", "1K", "99999999999999999999G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modules_are_names_with_dots() {
        for good in ["config.wsgi:application", "app:create_app()", "wsgi"] {
            assert!(module(good, true).is_ok(), "{good}");
        }
        for bad in ["", "a..b", "../x", "a b:c", "a:b;c", "1a", "a:", "config/wsgi.py"] {
            assert!(module(bad, true).is_err(), "{bad}");
        }
        assert!(module("config.settings:x", false).is_err());
    }
}
