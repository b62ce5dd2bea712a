//! Conversions that are exact if the decimal result is: 32 °F is 0 °C, 3300 mV are 3.3 V.
//!
//! A number means its shortest decimal form, which is what its sender wrote. The conversion of that decimal
//! uses integer fractions, and the result is the nearest double.

use std::fmt::Write as _;

use super::table::{Factor, Known};

/// The number of digits after the point for a fraction that does not end; a double has 17.
const DIGITS: usize = 40;

/// Converts `value` from `from` to `to`, a unit of the same dimension.
pub(super) fn convert(value: f64, from: &Known, to: &Known) -> f64 {
    exactly(value, from, to).unwrap_or_else(|| by_doubles(value, from, to))
}

/// `None` if a factor is not a fraction, or if the fractions exceed 127 bits.
fn exactly(value: f64, from: &Known, to: &Known) -> Option<f64> {
    let (Factor::Exact(fn_, fd), Factor::Exact(tn, td)) = (from.factor, to.factor) else { return None };
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let digits: i128 = mantissa.replace('.', "").parse().ok()?;
    let exponent = exponent.parse::<i32>().ok()? - i32::try_from(decimals).ok()?;

    let scale = Fraction::new(fn_, fd)?.times(Fraction::new(td, tn)?)?;
    if from.offset == to.offset {
        return scale.times(Fraction { over: digits, under: 1 })?.nearest(exponent);
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    let (over, under) = if exponent < 0 { (digits, power) } else { (digits.checked_mul(power)?, 1) };
    let offset =
        Fraction::new(from.offset.0, from.offset.1)?.minus(Fraction::new(to.offset.0, to.offset.1)?)?;
    let shift = offset.times(Fraction::new(td, tn)?)?;
    scale.times(Fraction { over, under })?.plus(shift)?.nearest(0)
}

pub(super) fn by_doubles(value: f64, from: &Known, to: &Known) -> f64 {
    (value * factor(from) + (offset(from) - offset(to))) / factor(to)
}

#[allow(clippy::cast_precision_loss)] // The greatest is below 2^53.
fn factor(unit: &Known) -> f64 {
    match unit.factor {
        Factor::Exact(numerator, denominator) => numerator as f64 / denominator as f64,
        Factor::Rounded(factor) => factor,
    }
}

#[allow(clippy::cast_precision_loss)]
fn offset(unit: &Known) -> f64 {
    unit.offset.0 as f64 / unit.offset.1 as f64
}

/// A fraction; the denominator is positive.
#[derive(Clone, Copy)]
struct Fraction {
    over: i128,
    under: i128,
}

impl Fraction {
    fn new(over: i64, under: i64) -> Option<Self> {
        (under > 0).then_some(Self { over: over.into(), under: under.into() })
    }

    fn times(self, other: Self) -> Option<Self> {
        // Cancelled first, so that the products stay small.
        let (a, b) = (gcd(self.over, other.under), gcd(other.over, self.under));
        let over = (self.over / a).checked_mul(other.over / b)?;
        Some(Self { over, under: (self.under / b).checked_mul(other.under / a)? })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let common = gcd(self.under, other.under);
        let (left, right) = (other.under / common, self.under / common);
        let over = self.over.checked_mul(left)?.checked_add(other.over.checked_mul(right)?)?;
        Some(Self { over, under: self.under.checked_mul(left)? })
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self { over: -other.over, under: other.under })
    }

    /// The double nearest to the fraction times ten to the power of `exponent`.
    fn nearest(self, exponent: i32) -> Option<f64> {
        let (mut rest, under) = (self.over.unsigned_abs(), self.under.unsigned_abs());
        let mut text = String::with_capacity(80);
        if self.over < 0 {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{}.", rest / under);
        rest %= under;
        for _ in 0..DIGITS {
            if rest == 0 {
                break;
            }
            rest = rest.checked_mul(10)?;
            let _ = write!(text, "{}", rest / under);
            rest %= under;
        }
        // The value of an infinite fraction is above its written digits.
        let _ = write!(text, "{}e{exponent}", u8::from(rest != 0));
        text.parse().ok()
    }
}

/// The greatest common divisor, at least 1.
fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
