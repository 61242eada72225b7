//! A bad network between two hosts: slow, lossy, cut off one way, or of the kind that resets connections. Everybody else reaches both
//! as before, so that who asks the site of a host sees only what the host makes of it.

use crate::lab::command::run;
use crate::lab::error::{LabError, Result};
use crate::lab::host::Host;
use crate::lab::network::Network;
use crate::lab::wait::complain;

/// How bad it is, seen from the first of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// So many kbit/s each way.
    Slow(u32),
    /// So many packets of a hundred are lost, each way.
    Lossy(u32),
    /// Every connection is reset at both ends once it has carried so many bytes.
    Resetting(u64),
    /// So many kbit/s each way, in packets of a hundred and some bytes.
    Dripping(u32),
    /// What the other sends does not arrive; the other hears everything.
    Deaf,
    /// Nothing arrives, either way.
    Cut,
}

/// What waits for a slow line is sent within so long; more is lost.
const WAITING: &str = "1500ms";
/// Of a packet that drips.
const DROP_BYTES: &str = "200";

/// A bad network between two hosts, until it is healed or dropped.
#[derive(Debug)]
#[must_use = "it is healed when it is dropped"]
pub struct Cable {
    ends: Option<[Host; 2]>,
    fault: Fault,
}

impl Cable {
    /// Makes the network between two hosts bad, for connections that are open too.
    pub fn between(one: &Host, other: &Host, fault: Fault) -> Result<Self> {
        // From here on dropping it undoes what was done, also of what comes only half into being.
        let cable = Self { ends: Some([one.clone(), other.clone()]), fault };
        let both = |work: fn(&End, u32) -> Result<()>, number| {
            work(&End::of(one, other), number).and_then(|()| work(&End::of(other, one), number))
        };
        match fault {
            Fault::Slow(rate) => both(End::slow_down, rate)?,
            Fault::Lossy(percent) => both(End::lose, percent)?,
            Fault::Resetting(bytes) => End::of(one, other).reset_after(bytes)?,
            Fault::Dripping(rate) => {
                both(End::slow_down, rate)?;
                both(|end, _| end.cut_up(), 0)?;
            }
            Fault::Deaf => End::of(one, other).lose(100)?,
            Fault::Cut => one.cut_from(other)?,
        }
        Ok(cable)
    }

    /// Makes it whole again.
    pub fn heal(mut self) -> Result<()> {
        self.undo()
    }

    fn undo(&mut self) -> Result<()> {
        let Some([one, other]) = self.ends.take() else { return Ok(()) };
        let ends = [End::of(&one, &other), End::of(&other, &one)];
        let both = |work: fn(&End) -> Result<()>| ends.iter().map(work).fold(Ok(()), Result::and);
        match self.fault {
            Fault::Slow(_) => both(End::speed_up),
            Fault::Lossy(_) => both(End::drop_rules),
            Fault::Resetting(_) => ends[0].drop_rules().and(ends[0].count_bytes(false)),
            Fault::Deaf => ends[0].drop_rules(),
            Fault::Dripping(_) => both(End::speed_up).and(both(End::put_together)),
            Fault::Cut => one.heal_from(&other),
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            complain(&format!("a network is left {:?}: {error}", self.fault));
        }
    }
}

/// One of the two, as it deals with the other.
struct End {
    place: Network,
    peer: String,
    /// The last part of the other's address: names what is made for it.
    number: u8,
}

impl End {
    fn of(host: &Host, peer: &Host) -> Self {
        Self { place: host.network(), peer: peer.ip(), number: peer.number() }
    }

    fn tc(&self, words: &str) -> Result<String> {
        let words: Vec<&str> = words.split(' ').collect();
        run(&[&["tc", "-n", self.place.name()], &words[..]].concat())
    }

    /// What it sends to the other goes through a class of its own.
    fn slow_down(&self, kbit: u32) -> Result<()> {
        let (number, peer) = (self.number, &self.peer);
        if !self.tc("qdisc show dev eth0")?.contains("htb") {
            self.tc("qdisc add dev eth0 root handle 1: htb")?;
        }
        self.tc(&format!("class add dev eth0 parent 1: classid 1:{number} htb rate 1gbit quantum 1600"))?;
        self.tc(&format!("qdisc add dev eth0 parent 1:{number} tbf rate {kbit}kbit burst 1600 latency {WAITING}"))?;
        self.tc(&format!("filter add dev eth0 parent 1: protocol ip prio {number} u32 match ip dst {peer}/32 flowid 1:{number}")).map(drop)
    }

    fn speed_up(&self) -> Result<()> {
        let number = self.number;
        self.tc(&format!("filter del dev eth0 parent 1: prio {number}"))?;
        self.tc(&format!("class del dev eth0 classid 1:{number}"))?;
        if self.tc("class show dev eth0")?.trim().is_empty() { self.tc("qdisc del dev eth0 root").map(drop) } else { Ok(()) }
    }

    fn route(&self, verb: &str, how: &[&str]) -> Result<()> {
        run(&[&["ip", "-n", self.place.name(), "route", verb, &self.peer, "dev", "eth0"], how].concat()).map(drop)
    }

    /// What it sends to the other goes in small packets.
    fn cut_up(&self) -> Result<()> {
        self.route("add", &["mtu", "lock", DROP_BYTES])
    }

    fn put_together(&self) -> Result<()> {
        self.route("delete", &[])
    }

    fn nft(&self, words: &str) -> Result<()> {
        run(&["ip", "netns", "exec", self.place.name(), "nft", words]).map(drop)
    }

    fn table(&self) -> String {
        format!("table ip cable{}", self.number)
    }

    /// Some of what the other sends does not arrive. It is dropped where it arrives: a sender is told of what is dropped at home.
    fn lose(&self, percent: u32) -> Result<()> {
        let some = if percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
        let lost = format!("ip saddr {} {some} drop", self.peer);
        self.nft(&format!("{} {{\n chain inward {{ type filter hook input priority 0; {lost}; }}\n}}", self.table()))
    }

    /// A connection with the other is reset, here and there, once it has carried so many bytes.
    fn reset_after(&self, bytes: u64) -> Result<()> {
        self.count_bytes(true)?;
        let chain = |name: &str, hook: &str, side: &str| {
            // A reset must come through.
            let reset = format!("ip {side} {} tcp flags & rst == 0 ct bytes > {bytes} reject with tcp reset", self.peer);
            format!("chain {name} {{ type filter hook {hook} priority 0; {reset}; }}\n")
        };
        self.nft(&format!("{} {{\n{}{}}}", self.table(), chain("inward", "input", "saddr"), chain("outward", "output", "daddr")))
    }

    /// Whether the place counts the bytes of its connections.
    fn count_bytes(&self, on: bool) -> Result<()> {
        let setting = "/proc/sys/net/netfilter/nf_conntrack_acct";
        self.place.enter(|| std::fs::write(setting, if on { "1" } else { "0" }).map_err(LabError::io("write", setting)))?
    }

    fn drop_rules(&self) -> Result<()> {
        self.nft(&format!("delete {}", self.table()))
    }
}
