//! Wire ↔ model, one file per noun.

mod facts;
mod order;
mod report;

#[cfg(test)]
mod tests;
