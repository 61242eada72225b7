//! A number that was measured, or that something is measured against.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A finite number, kept to twelve significant digits: what is told of it, stored and compared is the same.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Number(f64);

/// Without NaN equality is total.
impl Eq for Number {}

/// No number to judge by.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not a number to judge by")]
pub struct NotFinite(f64);

impl Number {
    /// Takes what is finite.
    ///
    /// # Errors
    /// [`NotFinite`] for NaN and infinities.
    pub fn new(value: f64) -> Result<Self, NotFinite> {
        // What is written with twelve digits is read again as the same number.
        let kept = format!("{value:.11e}").parse::<f64>().ok().filter(|kept| kept.is_finite());
        kept.map(Self).ok_or(NotFinite(value))
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The product, where it is finite.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        Self::new(self.0 * other.0).ok()
    }
}

impl TryFrom<f64> for Number {
    type Error = NotFinite;
    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Self::new(value)
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

/// For people: four significant digits, and no exponent where that is readable.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = format!("{:.3e}", self.0).parse::<f64>().unwrap_or(self.0);
        match rounded.abs() {
            0.0 => f.write_str("0"),
            size if (1e-5..1e12).contains(&size) => write!(f, "{rounded}"),
            _ => write!(f, "{rounded:e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_finite_and_told_shortly() {
        let told = |value: f64| Number::new(value).unwrap().to_string();
        assert_eq!(
            [0.0, -0.0, 0.01, 0.051_282_051, 1.5, 120_000.0, -3.25, 1e-9, 1.234_56e20].map(told),
            ["0", "0", "0.01", "0.05128", "1.5", "120000", "-3.25", "1e-9", "1.235e20"]
        );
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Number::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Number::new(f64::NAN).unwrap_err().to_string(), "NaN is not a number to judge by");
    }

    #[test]
    fn what_is_stored_is_read_as_the_same() {
        for value in [0.1 + 0.2, 1.0 / 3.0, 0.999_999_999_999_9, 12_345.678_901_234_567] {
            let number = Number::new(value).unwrap();
            let stored = serde_json::to_string(&number).unwrap();
            assert_eq!(serde_json::from_str::<Number>(&stored).unwrap(), number, "{stored}");
        }
        assert_eq!(serde_json::from_str::<Number>("1").unwrap(), Number::new(1.0).unwrap());
    }
}
