//! Options of every TCP connection of the fleet: a dead peer is noticed in seconds, not hours.

use crate::limits::{KEEPALIVE_COUNT, KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, UNACKNOWLEDGED_MILLIS};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use tokio::net::TcpStream;

/// Sets the options (tcp(7)).
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_COUNT)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &UNACKNOWLEDGED_MILLIS)?;
    Ok(())
}
