//! What a release *is*: `roadstead.toml`, the manifest, content-addressed blobs and trees, pack, verify, unpack, sign.
//!
//! A release is a signed [`manifest::Manifest`] whose trees name blobs by digest; a *bundle* carries it as one file, a
//! *store* holds it as a folder of blobs. What came from outside is [`release::UntrustedRelease`], whose only verb is
//! `verify`; only a [`release::VerifiedRelease`] can be unpacked. This crate knows no network, no systemd and no Python:
//! the command builds releases with it, the controller stores them, the agent verifies and lays them out.

pub mod arguments;
pub mod blobs;
pub mod configured;
pub mod container;
pub mod diff;
pub mod ingest;
pub mod manifest;
pub mod migrations;
pub mod node;
pub mod project;
pub mod release;
pub mod sign;
pub mod spec;
pub mod store;
pub mod trust;
pub mod unpack;
pub mod variable;
pub mod walk;
pub mod wheel;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
