use std::io;
use std::ops::Range;

use half::{bf16, f16};
use serde_json::Value;

use super::cores;
use crate::tensor::{Tensor, for_data};

/// So few elements are written sooner than another core is woken.
const FEW_ELEMENTS: usize = 1 << 13;

/// Writes a tensor as a JSON value, nested as its shape.
///
/// Every number is the shortest decimal that comes back as the same element of its type, whole numbers up to 2^24 are
/// exact; NaN and the infinities are the strings `NaN`, `Infinity` and `-Infinity`.
pub fn encode(tensor: &Tensor) -> Value {
    let mut text = Vec::new();
    append(tensor, &mut text);
    serde_json::from_slice(&text).expect("what is written here is JSON, no deeper than a tensor can be")
}

/// Appends a tensor as JSON text, as [`encode`] does, without a tree of values in between.
///
/// Shape: nested as the tensor's; a tensor without elements that would take more than 2^20 lists is one empty list.
pub fn append(tensor: &Tensor, to: &mut Vec<u8>) {
    append_as(tensor.shape(), tensor, to);
}

/// Appends the elements of a tensor as one list, in row-major order, whatever its shape.
pub fn append_flat(tensor: &Tensor, to: &mut Vec<u8>) {
    append_as(&[tensor.data().len()], tensor, to);
}

fn append_as(shape: &[usize], tensor: &Tensor, to: &mut Vec<u8>) {
    let written = text(tensor, shape, usize::MAX, to, |_| Ok(()));
    debug_assert!(written.is_ok(), "a vector takes whatever is written");
}

/// Writes a tensor as JSON text, as [`append`] does, a few megabytes at a time.
///
/// Errors: what `writer` gives.
pub fn write(tensor: &Tensor, mut writer: impl io::Write) -> io::Result<()> {
    const AT_ONCE: usize = 1 << 17;
    let mut held = Vec::new();
    text(tensor, tensor.shape(), AT_ONCE, &mut held, |held| {
        writer.write_all(held)?;
        held.clear();
        Ok(())
    })?;
    writer.write_all(&held)
}

/// Appends the elements of `tensor`, nested as `shape` says, and calls `between` whenever `at_once` more of them are there.
fn text(
    tensor: &Tensor,
    mut shape: &[usize],
    at_once: usize,
    to: &mut Vec<u8>,
    between: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    const MOST_EMPTY_LISTS: usize = 1 << 20;
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
    for_data!(tensor.data(), elements => Lists::new(shape, elements).append(at_once, to, between))
}

/// Is a tensor's elements with the lists that they stand in.
struct Lists<'a, T> {
    elements: &'a [T],
    /// The dimensions but for the innermost.
    outer: &'a [usize],
    /// The innermost dimension, one for a scalar.
    row: usize,
    depth: usize,
}

impl<'a, T: Plain> Lists<'a, T> {
    fn new(shape: &'a [usize], elements: &'a [T]) -> Self {
        let (row, outer) = shape.split_last().map_or((1, shape), |(&row, outer)| (row, outer));
        Lists {
            elements,
            outer,
            row,
            depth: shape.len(),
        }
    }

    fn append(
        &self,
        at_once: usize,
        to: &mut Vec<u8>,
        mut between: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        bytes(b'[', self.depth, to);
        if self.elements.is_empty() {
            (1..self.outer.iter().product()).for_each(|row| self.separate(row, to));
        }
        for start in (0..self.elements.len()).step_by(at_once) {
            let span = start..self.elements.len().min(start.saturating_add(at_once));
            self.append_span(span, to);
            between(to)?;
        }
        bytes(b']', self.depth, to);
        Ok(())
    }

    /// Appends elements with what stands before and between them, many on all cores.
    fn append_span(&self, span: Range<usize>, to: &mut Vec<u8>) {
        match cores::parts_of(span.len(), FEW_ELEMENTS) {
            1 => self.append_part(span, to),
            parts => {
                let each = span.len().div_ceil(parts);
                let texts = cores::each(parts, |part| {
                    let start = span.start + part * each;
                    let mut text = Vec::new();
                    self.append_part(start..span.end.min(start + each), &mut text);
                    text
                });
                to.reserve(texts.iter().map(Vec::len).sum());
                texts.iter().for_each(|text| to.extend_from_slice(text));
            }
        }
    }

    fn append_part(&self, part: Range<usize>, to: &mut Vec<u8>) {
        to.reserve(part.len() * T::TEXT_BYTES);
        let mut at = part.start;
        while at < part.end {
            match at % self.row {
                0 if at > 0 => self.separate(at / self.row, to),
                0 => {}
                _ => to.push(b','),
            }
            let end = part.end.min((at / self.row + 1) * self.row);
            self.elements[at].put(to);
            for element in &self.elements[at + 1..end] {
                to.push(b',');
                element.put(to);
            }
            at = end;
        }
    }

    /// Ends the row before this one, and begins this one.
    fn separate(&self, row: usize, to: &mut Vec<u8>) {
        let mut rows = 1;
        let whole = self.outer.iter().rev().take_while(|&&size| {
            rows *= size;
            row.is_multiple_of(rows)
        });
        let lists = 1 + whole.count();
        bytes(b']', lists, to);
        to.push(b',');
        bytes(b'[', lists, to);
    }
}

fn bytes(byte: u8, count: usize, to: &mut Vec<u8>) {
    to.resize(to.len() + count, byte);
}

/// Is an element that JSON can show.
trait Plain: Sync {
    /// How much room an element takes, about, with its comma.
    const TEXT_BYTES: usize;
    fn put(&self, to: &mut Vec<u8>);
}

macro_rules! plain_as_serde {
    ($($rust:ty),*) => { $(
        impl Plain for $rust {
            const TEXT_BYTES: usize = 4;
            fn put(&self, to: &mut Vec<u8>) {
                serde_json::to_writer(to, self).expect("a vector takes whatever is written");
            }
        }
    )* };
}

plain_as_serde!(i8, i16, i32, i64, u8, u16, u32, u64, bool, String);

macro_rules! plain_float {
    ($($rust:ty, $put:expr;)*) => { $(
        impl Plain for $rust {
            const TEXT_BYTES: usize = 5 + 2 * size_of::<$rust>();
            #[inline]
            fn put(&self, to: &mut Vec<u8>) {
                if self.is_nan() {
                    to.extend(b"\"NaN\"");
                } else if self.is_infinite() {
                    to.extend(if *self > <$rust>::MIN { &b"\"Infinity\""[..] } else { b"\"-Infinity\"" });
                } else {
                    $put(*self, to);
                }
            }
        }
    )* };
}

plain_float! {
    f64, put_f64;
    f32, |value, to| put_float(value, SURE_MILLIONTHS_OF_F32, |wide| wide as f32, to);
    f16, |value: f16, to| put_f64(shortest_half(value.to_f64(), |back| f16::from_f64(back) == value), to);
    bf16, |value: bf16, to| put_f64(shortest_half(value.to_f64(), |back| bf16::from_f64(back) == value), to);
}

/// Below so many millionths, a decimal has no more digits than any float of the type tells apart.
const SURE_MILLIONTHS_OF_F32: i64 = 1_000_000;
const SURE_MILLIONTHS_OF_F64: i64 = 100_000_000_000_000;

#[inline]
fn put_f64(value: f64, to: &mut Vec<u8>) {
    put_float(value, SURE_MILLIONTHS_OF_F64, |wide| wide, to);
}

/// Appends a finite float: `below` bounds the millionths that can be its shortest decimal, `narrow` rounds to its type.
#[inline]
fn put_float<F: Copy + Into<f64> + zmij::Float>(value: F, below: i64, narrow: impl Fn(f64) -> F, to: &mut Vec<u8>) {
    let wide: f64 = value.into();
    let millionths = (wide.abs() * 1e6 + 0.5) as i64;
    // A decimal of so few digits is no other float's, so that none can be shorter. The quotient of whole numbers that are exact is
    // rounded once, as the decimal would be when it is read; and none of so few digits lies so near the middle of two float32
    // that to narrow it would be another rounding.
    if (1_000..below).contains(&millionths) && narrow(millionths as f64 / 1e6).into() == wide.abs() {
        put_millionths(wide < 0.0, millionths as u64, to);
    } else {
        to.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
}

/// Appends a number of millionths without the zeros at its end.
#[inline]
fn put_millionths(is_negative: bool, millionths: u64, to: &mut Vec<u8>) {
    const MILLION: u64 = 1_000_000;
    const ZEROS: u64 = u64::from_le_bytes([b'0', b'.', b'0', b'0', b'0', b'0', b'0', b'0']);
    if is_negative {
        to.push(b'-');
    }
    let whole = millionths / MILLION;
    if whole >= 10 {
        (whole / 10).put(to);
    }
    // The last whole digit, the point and six more: one number, as many bytes whatever is shown of them, which is one move.
    let digits = digits((millionths % MILLION) as u32);
    let shown = (10 - digits.leading_zeros() as usize / 8).max(3);
    let text = ZEROS | (whole % 10) | (digits << 16);
    let end = to.len() + shown;
    to.extend_from_slice(&text.to_le_bytes());
    to.truncate(end);
}

/// Gives six digits, one a byte, the first in the lowest.
#[inline]
fn digits(number: u32) -> u64 {
    // Halves of four digits, then of two, then of one, all halves at once; the quotients are exact for numbers this small.
    let fours = u64::from(number / 100) | (u64::from(number % 100 * 100) << 32);
    let hundreds = ((fours * 10486) >> 20) & 0x0000_007f_0000_007f;
    let twos = ((fours - hundreds * 100) << 16) | hundreds;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    ((twos - tens * 10) << 8) | tens
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
