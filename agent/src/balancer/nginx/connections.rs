//! How many connections this host has to each of some addresses.

use roadstead_worker::tasks::blocking;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::lookup_host;

use crate::host::ports;

/// The connections to each address, in their order; an error where one cannot be looked up.
///
/// A look-up is not given up, and one is made after the other: each holds a thread of few for as long as the host's resolver takes.
pub(super) async fn count(root: &Path, addresses: Vec<String>) -> Vec<io::Result<u32>> {
    let mut found = Vec::new();
    for address in addresses {
        found.push(lookup_host(address).await.map(|found| found.map(canonical).collect::<BTreeSet<SocketAddr>>()));
    }
    let root = root.to_path_buf();
    let sockets = blocking(move || ports::sockets(&root)).await;
    let remotes: Vec<SocketAddr> = sockets.iter().filter(|socket| socket.established).map(|socket| socket.remote).collect();
    let of = |server: BTreeSet<SocketAddr>| remotes.iter().filter(|remote| server.contains(remote)).count();
    found.into_iter().map(|server| server.map(|server| u32::try_from(of(server)).unwrap_or(u32::MAX))).collect()
}

/// As the kernel's table is read.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn connections_to_a_server_are_counted_at_this_end_alone() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|text| TcpListener::bind(text).unwrap());
        let addresses: Vec<String> = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let count = || async {
            let counts = count(Path::new("/"), addresses.clone()).await;
            counts.into_iter().map(Result::unwrap).collect::<Vec<u32>>()
        };
        assert_eq!(count().await, [0, 0]);
        let clients: Vec<TcpStream> = [0, 0, 1].map(|at| TcpStream::connect(&addresses[at]).unwrap()).into();
        let _taken: Vec<_> = listeners.iter().map(|listener| listener.accept().unwrap()).collect();
        assert_eq!(count().await, [2, 1]);
        drop(clients);
        assert_eq!(count().await, [0, 0], "this end has said that it is done");
    }

    #[tokio::test]
    async fn an_address_that_nobody_knows_has_no_count() {
        let counts = count(Path::new("/"), vec!["no-such-host.invalid:80".into(), "127.0.0.1:1".into()]).await;
        assert!(counts[0].is_err());
        assert_eq!(*counts[1].as_ref().unwrap(), 0);
    }
}
