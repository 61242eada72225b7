//! Bytes between a host and the controller, as the host's kernel counts them: all of each packet, in both directions.

use crate::Result;
use roadstead_tests::lab::Host;

/// Begins to count.
pub(crate) fn count(host: &Host, controller: &str) -> Result<()> {
    let rules = format!(
        "table ip bench {{
            chain inward {{ type filter hook input priority 0; ip saddr {controller} counter; }}
            chain outward {{ type filter hook output priority 0; ip daddr {controller} counter; }}
        }}"
    );
    host.write("/run/bench.nft", rules)?;
    Ok(host.exec(&["nft", "-f", "/run/bench.nft"]).map(drop)?)
}

/// What was counted until now.
pub(crate) fn counted(host: &Host) -> Result<u64> {
    let listed = host.exec(&["nft", "list", "table", "ip", "bench"])?;
    Ok(bytes(&listed))
}

/// All numbers after the word `bytes`, together.
fn bytes(listed: &str) -> u64 {
    let mut words = listed.split_whitespace();
    let mut all = 0;
    while words.any(|word| word == "bytes") {
        all += words.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_directions_count() {
        let listed = "table ip bench {\n chain inward {\n ip saddr 10.77.0.11 counter packets 3 bytes 420\n }\n chain outward {\n ip daddr 10.77.0.11 counter packets 2 bytes 80\n }\n}";
        assert_eq!(super::bytes(listed), 500);
    }
}
