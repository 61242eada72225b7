//! Bounds of what this crate reads and waits for.

use std::time::Duration;

/// A certificate request in DER. Ours are about 200 bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 2 * 1024;
/// One certificate in DER. Ours are about 450 bytes.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// A credentials or authority file.
pub(crate) const PEM_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Certificates that a peer may send: its own and the authority's.
pub(crate) const CHAIN_LENGTH_MAX: usize = 2;

/// How long an accepted connection may take to finish its handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client waits for the connection and its handshake together.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Silence after which the kernel starts to ask whether the peer is still there.
pub(crate) const KEEPALIVE_IDLE_SECONDS: u32 = 15;
/// Time between two such questions.
pub(crate) const KEEPALIVE_INTERVAL_SECONDS: u32 = 5;
/// Unanswered questions after which the connection is dead.
pub(crate) const KEEPALIVE_COUNT: u32 = 3;
/// How long sent bytes may stay unacknowledged before the connection is dead.
pub(crate) const UNACKNOWLEDGED_MILLIS: u32 = 20_000;
