//! Environment files of a host: what its operator wrote, and what the agent writes.

use roadstead_model::limits;

use crate::agent::environment_file::{parse, render};
use crate::text::text;

/// Variables that are read are written so that they read the same, also behind a comment of somebody's.
pub fn environment_file(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(variables) = parse(text) else { return };
    assert!(variables.values().all(|value| !value.contains('\0') && value.len() <= limits::VARIABLE_VALUE_BYTES_MAX));
    let written = render(&variables).unwrap();
    assert_eq!(parse(&written).as_ref(), Ok(&variables));
    assert_eq!(parse(&format!("; another's\n{written}# the end")), Ok(variables));
}
