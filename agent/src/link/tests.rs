//! The link against a controller made up in the same process.

mod controller;
mod fetches;
mod sessions;
mod slow;
mod whole;
