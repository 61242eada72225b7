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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!([size(0), size(1023), size(1024), size(4000), size(5 << 20)], ["0 B", "1023 B", "1.0 KiB", "3.9 KiB", "5.0 MiB"]);
        assert_eq!(size(u64::MAX), "1638.3 PiB");
    }
}
