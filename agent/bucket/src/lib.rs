//! An S3-compatible bucket, as a place for files: put, get, look at, list, delete.
//!
//! It knows nothing of backups. Every request is signed, bounded, tried again where another attempt may end otherwise, and ends when it is
//! called off or nothing moves any more. A file goes up in pieces that are read from the disk twice, once for their sums and once to be
//! sent, so that none is ever held in memory; it comes down into a new file, never larger than what was expected.
//!
//! **Requests are signed here** ([`sign`](self), 100 lines over `hmac` and `sha2`). `rusty-s3` 0.11, which signs without sending, was looked
//! at: it signs addresses alone, so that a session's token and a signature that can be used again stand in the request line, which servers
//! and proxies write to their logs; it does not sign what is sent; and `url` with its tables of Unicode, `jiff` and `instant-xml` are some
//! thirty crates that nothing else on a host needs.

mod address;
mod body;
mod client;
mod fault;
mod labelled;
mod sign;
mod transfer;
mod xml;

#[cfg(test)]
mod tests;

pub use address::{Place, Style};
pub use client::{Bucket, Object};
pub use fault::{BucketError, Fault, Section};
pub use labelled::Labels;
pub use sign::Keys;
