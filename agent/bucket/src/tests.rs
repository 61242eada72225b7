#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]
