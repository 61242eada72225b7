//! Crash anywhere, and the end is the same.

mod crashes;
mod fences;
mod world;
