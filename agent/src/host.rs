//! The host's systemd, over D-Bus.

/// A connection to systemd.
#[derive(Debug)]
pub(crate) struct Host {}
