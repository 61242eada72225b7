//! What users live through, told on real hosts: one file per story.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod first_deployment;
