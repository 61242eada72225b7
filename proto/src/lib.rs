//! The wire: generated messages and services of `roadstead/v1/*.proto`, and their conversions to and from the model.
//!
//! A message is an untrusted shape: it is converted at the door, with one error type, [`Invalid`], and travels no further.
//! No decision is taken here.

mod codec;
mod convert;
mod invalid;
pub use invalid::Invalid;

/// The generated messages, clients and servers.
#[allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated; documented in the .proto files")]
pub mod v1 {
    include!("gen/roadstead.v1.rs");
}

/// The version of the session's protocol that this code speaks. A peer of the version before is understood.
pub const PROTOCOL: u32 = 1;
/// The oldest version that is understood.
pub const PROTOCOL_OLDEST: u32 = 1;
