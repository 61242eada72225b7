//! Bytes for people.

/// Bytes, as `3.9 KiB`; rounded down.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scaled = bytes.saturating_mul(10) / 1024;
    while scaled >= 10_240 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", scaled / 10, scaled % 10, UNITS[unit])
}

/// Units of sizes that people write, by thousands.
const DECIMAL: [(&str, u64); 5] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

/// Bytes as a person writes them: `50 GB`; in the largest unit of which they are a whole number.
pub(crate) fn decimal_size(bytes: u64) -> String {
    let whole = DECIMAL.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(&("B", 1));
    format!("{} {name}", bytes / unit)
}

/// Reads what [`decimal_size`] writes; also without the space.
pub(crate) fn parse_decimal_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = DECIMAL.iter().find(|(name, _)| *name == unit.trim_start_matches(' ')).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!([size(0), size(1023), size(1024), size(4000), size(5 << 20)], ["0 B", "1023 B", "1.0 KiB", "3.9 KiB", "5.0 MiB"]);
        assert_eq!(size(u64::MAX), "1638.3 PiB");
    }
}
