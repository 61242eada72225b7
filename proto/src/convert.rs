//! Wire ↔ model, one file per noun.

mod backup;
mod facts;
mod lease;
mod order;
mod report;
mod traffic;

#[cfg(test)]
mod tests;
