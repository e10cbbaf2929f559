use std::io;

use half::{bf16, f16};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::Value;

use crate::tensor::{Tensor, for_data};

/// Writes a tensor as a JSON value, nested as its shape.
///
/// Every number is the shortest decimal that comes back as the same element of its type, whole numbers up to 2^24 are
/// exact; NaN and the infinities are the
/// strings `NaN`, `Infinity` and `-Infinity`.
pub fn encode(tensor: &Tensor) -> Value {
    serde_json::to_value(Nested(tensor)).expect("a tensor has no map keys and its numbers are finite")
}

/// Writes a tensor as JSON text, as [`encode`] does, without a tree of values in between.
///
/// Errors: what `writer` gives. It is called for every number: buffer it.
pub fn write(tensor: &Tensor, writer: impl io::Write) -> io::Result<()> {
    serde_json::to_writer(writer, &Nested(tensor)).map_err(io::Error::from)
}

/// Serializes a tensor as nested lists, so that it can be part of a larger document.
///
/// Shape: nested as the tensor's; a tensor without elements that would take more than 2^20 lists is one empty list.
#[derive(Clone, Copy, Debug)]
pub struct Nested<'a>(pub &'a Tensor);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const MOST_EMPTY_LISTS: usize = 1 << 20;
        let mut shape = self.0.shape();
        if let Some(empty) = shape.iter().position(|&size| size == 0) {
            // Nothing lies within an empty list, and a shape costs nothing: [2^40, 0] must not fill the memory.
            let lists = shape[..empty]
                .iter()
                .try_fold(1usize, |product, &size| product.checked_mul(size));
            shape = match lists {
                Some(lists) if lists <= MOST_EMPTY_LISTS => &shape[..=empty],
                _ => &[0],
            };
        }
        for_data!(self.0.data(), elements => Level { shape, elements }.serialize(serializer))
    }
}

/// Serializes the elements of a tensor as one list, in row-major order, whatever its shape.
#[derive(Clone, Copy, Debug)]
pub struct Flat<'a>(pub &'a Tensor);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        for_data!(self.0.data(), elements => Level { shape: &[elements.len()], elements }.serialize(serializer))
    }
}

/// Serializes the elements below some dimension.
struct Level<'a, T> {
    shape: &'a [usize],
    elements: &'a [T],
}

impl<T: Plain> Serialize for Level<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((&size, inner)) = self.shape.split_first() else {
            return self.elements[0].serialize_plain(serializer);
        };
        let mut list = serializer.serialize_seq(Some(size))?;
        if inner.is_empty() {
            for element in self.elements {
                list.serialize_element(&Scalar(element))?;
            }
        } else {
            let each = self.elements.len() / size.max(1);
            for at in 0..size {
                list.serialize_element(&Level {
                    shape: inner,
                    elements: &self.elements[at * each..(at + 1) * each],
                })?;
            }
        }
        list.end()
    }
}

struct Scalar<'a, T>(&'a T);

impl<T: Plain> Serialize for Scalar<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_plain(serializer)
    }
}

/// Is an element that JSON can show.
trait Plain {
    fn serialize_plain<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

macro_rules! plain_as_serde {
    ($($rust:ty),*) => { $(
        impl Plain for $rust {
            fn serialize_plain<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        }
    )* };
}

plain_as_serde!(i8, i16, i32, i64, u8, u16, u32, u64, bool, String);

macro_rules! plain_float {
    ($($rust:ty, $shortest:expr;)*) => { $(
        impl Plain for $rust {
            fn serialize_plain<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if self.is_nan() {
                    serializer.serialize_str("NaN")
                } else if self.is_infinite() {
                    serializer.serialize_str(if *self > <$rust>::MIN { "Infinity" } else { "-Infinity" })
                } else {
                    serializer.serialize_f64($shortest(*self))
                }
            }
        }
    )* };
}

plain_float! {
    f64, |value: f64| value;
    f32, shortest_f32;
    f16, |value: f16| shortest_half(value.to_f64(), |back| f16::from_f64(back) == value);
    bf16, |value: bf16| shortest_half(value.to_f64(), |back| bf16::from_f64(back) == value);
}

/// Gives the float64 whose shortest decimal is that of `value`, so that 0.1 comes out as 0.1 and not as
/// 0.10000000149011612.
fn shortest_f32(value: f32) -> f64 {
    if is_small_whole(value.into()) {
        return value.into();
    }
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    serde_json::to_writer(&mut rest, &value).expect("a float has fewer than 32 characters");
    let written = 32 - rest.len();
    let text = std::str::from_utf8(&text[..written]).expect("a number is ASCII");
    text.parse().expect("a JSON number is a Rust float")
}

/// Finds the shortest decimal that a 16-bit float comes back from; five digits are enough for any.
fn shortest_half(value: f64, is_same: impl Fn(f64) -> bool) -> f64 {
    /// Powers of ten are exact in float64 up to here, so that a quotient or product is the float64 next to the decimal.
    const EXACT_POWER: i32 = 22;
    if is_small_whole(value) {
        return value;
    }
    let exponent = value.abs().log10().floor() as i32;
    (0..6)
        .map(|digits| {
            let shift = digits - exponent;
            let power = 10f64.powi(shift.abs());
            match shift {
                0..=EXACT_POWER => (value * power).round() / power,
                _ if shift.abs() <= EXACT_POWER => (value / power).round() * power,
                _ => format!("{value:.*e}", digits as usize).parse().unwrap_or(value),
            }
        })
        .find(|&decimal| is_same(decimal))
        .unwrap_or(value)
}

/// Tells whether a number is best shown as it is: 65504 of float16 comes back from 65500 too, but nobody counts so.
fn is_small_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() < 16_777_216.0
}
