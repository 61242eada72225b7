//! Who listens where: the kernel's table of TCP sockets, and the processes that hold them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A socket of the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    /// This end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
    /// Whether it waits for connections.
    pub(crate) listens: bool,
    /// Whether both ends talk.
    pub(crate) established: bool,
    /// Its number; 0 for a connection that nobody has taken yet.
    pub(crate) inode: u64,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its number.
    pub(crate) pid: u32,
    /// Its program's name, as the kernel knows it.
    pub(crate) program: String,
    /// The unit that it belongs to, when it belongs to one.
    pub(crate) unit: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.program)?;
        match &self.unit {
            Some(unit) => write!(f, " of {unit}"),
            None => Ok(()),
        }
    }
}

/// All TCP sockets of this host (proc_net_tcp(5)).
pub(crate) fn sockets(root: &Path) -> Vec<Socket> {
    let read = |table: &str| std::fs::read_to_string(root.join(table)).unwrap_or_default();
    let (four, six) = (read("proc/net/tcp"), read("proc/net/tcp6"));
    four.lines().chain(six.lines()).filter_map(socket).collect()
}

/// The sockets that take connections for this very address.
pub(crate) fn listening(root: &Path, address: SocketAddr) -> Vec<u64> {
    sockets(root).into_iter().filter(|socket| socket.listens && socket.local == address).map(|socket| socket.inode).collect()
}

/// The sockets that take connections which would come to this address too, or be in its way.
pub(crate) fn in_the_way(root: &Path, address: SocketAddr) -> Vec<u64> {
    let overlaps = |other: SocketAddr| {
        let any = |ip: IpAddr| ip.is_unspecified();
        let same_family = other.is_ipv4() == address.is_ipv4();
        // `[::]` takes connections of both families as a rule.
        let dual = |ip: IpAddr| ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        other.ip() == address.ip() || (same_family && (any(other.ip()) || any(address.ip()))) || dual(other.ip()) || dual(address.ip())
    };
    let taken = |socket: &Socket| socket.listens && socket.local.port() == address.port() && overlaps(socket.local);
    sockets(root).iter().filter(|socket| taken(socket)).map(|socket| socket.inode).collect()
}

/// The processes that hold one of the sockets.
pub(crate) fn holders(root: &Path, inodes: &[u64]) -> Vec<Holder> {
    let entries = std::fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Holder> = pids.filter(|pid| holds(root, *pid, inodes)).map(|pid| describe(root, pid)).collect();
    found.sort_by_key(|holder| holder.pid);
    found
}

/// Whether a process holds one of the sockets.
pub(crate) fn holds(root: &Path, pid: u32, inodes: &[u64]) -> bool {
    let entries = std::fs::read_dir(root.join("proc").join(pid.to_string()).join("fd")).into_iter().flatten().flatten();
    let inode = |target: &Path| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| inode(&target).is_some_and(|i| inodes.contains(&i)))
}

fn describe(root: &Path, pid: u32) -> Holder {
    let read = |file: &str| std::fs::read_to_string(root.join("proc").join(pid.to_string()).join(file)).unwrap_or_default();
    let program = read("comm").trim().chars().filter(|c| !c.is_control()).take(40).collect();
    // `0::/system.slice/nginx.service`, one line per hierarchy.
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    let unit = read("cgroup").lines().find_map(|line| line.rsplit('/').find(is_unit).map(str::to_owned));
    Holder { pid, program, unit }
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let state = *fields.get(3)?;
    Some(Socket { local, remote, listens: state == "0A", established: state == "01", inode: fields.get(9)?.parse().ok()? })
}

/// `0100007F:1F90`: the address as the kernel's words have it, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernels_words_are_addresses() {
        assert_eq!(address("0100007F:1F90"), Some(at("127.0.0.1:8080")));
        assert_eq!(address("00000000000000000000000001000000:0050"), Some(at("[::1]:80")));
        assert_eq!(address("0000000000000000FFFF00000100007F:0050"), Some(at("127.0.0.1:80")));
        for bad in ["", ":", "0100007F", "0100007F:", "01:00", "zz00007F:0050"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_listens_is_found_and_named() {
        let root = Path::new("/");
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(text).unwrap();
            let address = listener.local_addr().unwrap();
            let inodes = listening(root, address);
            assert_eq!(inodes.len(), 1, "{address}");
            let holders = holders(root, &inodes);
            assert!(holders.iter().any(|holder| holder.pid == std::process::id() && !holder.program.is_empty()), "{holders:?}");
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
                SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port()),
            };
            assert!(listening(root, any).is_empty());
            assert_eq!(in_the_way(root, any), inodes);
            drop(listener);
            assert!(in_the_way(root, address).is_empty());
        }
    }

    #[test]
    fn a_connection_that_nobody_took_has_no_number() {
        let root = Path::new("/");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = client.local_addr().unwrap();
        let taken = || sockets(root).into_iter().find(|socket| socket.remote == ours).map(|socket| socket.inode);
        assert_eq!(taken(), Some(0));
        let _connection = listener.accept().unwrap();
        assert!(taken().is_some_and(|inode| inode > 0 && holds(root, std::process::id(), &[inode])));
    }
}
