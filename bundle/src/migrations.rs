//! What the migrations of a release do to a database: facts and SQL that the project gave when it was built, and what follows from them.
//!
//! The facts are a blob of their own, named by the manifest: megabytes of SQL are nothing that every host needs. They come with a bundle,
//! so they are outside input: what they say is shown and judged, and never run. What is judged here is a pure function of them.

mod facts;
mod judge;
mod locks;
mod statements;
mod told;
mod words;

pub use facts::{FACTS_FORMAT, Field, FieldDefault, InvalidFacts, Migration, MigrationFacts, Operation};
pub use judge::{Judge, Judgement};
pub use locks::{Lock, Takes};
pub use told::told;

#[cfg(test)]
mod tests;
