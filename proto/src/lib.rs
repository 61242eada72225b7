//! The wire: generated messages and services of `roadstead/v1/*.proto`, and their conversions to and from the model.
//!
//! A message is an untrusted shape: it is converted at the door, with one error type, [`Invalid`], and travels no further.
//! No decision is taken here.

#[allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated; documented in the .proto files")]
#[path = "gen/roadstead.v1.rs"]
pub mod v1;
