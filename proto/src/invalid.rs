//! The one error of all conversions from the wire.

/// A message that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent an invalid message: {field}: {why}; is it of another version?")]
pub struct Invalid {
    /// The field, such as `order.release.id`.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self { field, why: why.to_string() }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }
}

/// Names the field of an error.
pub(crate) trait InField<T> {
    /// The value, or the error with the field's name.
    fn field(self, field: &'static str) -> Result<T, Invalid>;
}

impl<T, E: std::fmt::Display> InField<T> for Result<T, E> {
    fn field(self, field: &'static str) -> Result<T, Invalid> {
        self.map_err(|error| Invalid::new(field, error))
    }
}

impl<T> InField<T> for Option<T> {
    fn field(self, field: &'static str) -> Result<T, Invalid> {
        self.ok_or_else(|| Invalid::missing(field))
    }
}

/// A text that is empty for "none".
pub(crate) fn optional<T, E: std::fmt::Display>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
    field: &'static str,
) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(text).field(field).map(Some) }
}

/// Refuses a list that is longer than it may be.
pub(crate) fn bounded(length: usize, max: usize, field: &'static str) -> Result<(), Invalid> {
    if length <= max { Ok(()) } else { Err(Invalid::new(field, format_args!("{length} elements, at most {max} are taken"))) }
}
