//! The rules by which a value of one type becomes an element of another.
//!
//! A whole number must come out as the same number, in an integer or in a float. A number with a fraction may be
//! rounded to the nearest float, never to an integer. Nothing finite becomes an infinity. `bool` is the numbers 0 and 1.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use super::decimal::Short;
use super::{DType, Data, Element, Tensor, for_data, for_dtype};

/// Is a number as a message shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i128),
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Integer(value) => write!(f, "{value}"),
            Number::Float(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
            }
            Number::Float(value) => write!(f, "{value:?}"),
        }
    }
}

/// Says why a value cannot be an element of a type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CastError {
    /// The value has a fraction, or is NaN or infinite, and the type holds whole numbers.
    #[error("{} is not a whole number, as {dtype} needs", Number::Float(*value))]
    Fraction { value: f64, dtype: DType },
    /// The value lies outside the type.
    #[error("{value} is outside {dtype}{}", Extent(*dtype))]
    Range { value: Number, dtype: DType },
    /// The value is a number as it was written, beyond what a float type holds.
    #[error("{} is outside {dtype}{}", Excerpt(literal), Extent(*dtype))]
    Overflow { literal: String, dtype: DType },
    /// The value is a whole number that a float type would round.
    #[error("{dtype} does not hold {value} exactly; the nearest is {nearest}")]
    Inexact { value: i128, dtype: DType, nearest: Number },
    /// The value is a whole number in a notation that is read as float64, too large to be exact in it.
    #[error("{value:?} is beyond 2^53, where a number with a fraction or an exponent is not exact enough for {dtype}")]
    Rounded { value: f64, dtype: DType },
    /// The value is not of a kind that the type is made of.
    #[error("expected {dtype}, found the string {:?}", Excerpt(text))]
    Text { text: String, dtype: DType },
    /// The type is made of strings.
    #[error("expected a string, found {0}")]
    NotText(Number),
    /// The type is made of strings.
    #[error("expected a string, found {0}")]
    BoolNotText(bool),
}

/// Writes the least and the greatest number that a type holds.
struct Extent(DType);

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = for_dtype!(self.0, T => <T as Cast>::BOUNDS, else None);
        match bounds {
            Some((least, greatest)) => write!(f, ", which goes from {least} to {greatest}"),
            None => Ok(()),
        }
    }
}

/// Shows the beginning of a text that may be long.
pub(super) struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(40) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(40) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Is the place of an element: one index a dimension, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPath(pub Vec<usize>);

impl IndexPath {
    /// Finds the place of the element at `offset` in row-major order.
    pub(super) fn of(shape: &[usize], mut offset: usize) -> Self {
        let mut path = vec![0; shape.len()];
        for (index, &size) in path.iter_mut().zip(shape).rev() {
            *index = offset % size;
            offset /= size;
        }
        IndexPath(path)
    }
}

impl fmt::Display for IndexPath {
    /// Writes `[0][2][5]`, and nothing for the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|index| write!(f, "[{index}]"))
    }
}

/// Writes ` at [0][2]`, and nothing for the whole.
pub(super) struct At<'a>(pub &'a IndexPath);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0.is_empty() {
            return Ok(());
        }
        write!(f, " at {}", self.0)
    }
}

/// Says which element of a tensor cannot be cast.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorCastError {
    /// An element does not fit.
    #[error("the element{} cannot be cast", At(path))]
    Element {
        path: IndexPath,
        #[source]
        source: Box<CastError>,
    },
    /// Tensors do not hold the type.
    #[error("{0} is not a type that tensors hold here")]
    NotHeld(DType),
}

impl Tensor {
    /// Casts every element to `dtype` by the rules of this module; gives the tensor itself where it has that type.
    ///
    /// Errors: the first element, in row-major order, that `dtype` does not hold.
    pub fn cast(self, dtype: DType) -> Result<Tensor, TensorCastError> {
        if self.dtype() == dtype {
            return Ok(self);
        }
        let (shape, data) = self.into_parts();
        let cast = for_dtype!(dtype, T => cast_all::<T>(&data), else return Err(TensorCastError::NotHeld(dtype)));
        match cast {
            Ok(data) => Ok(Tensor::from_checked_parts(shape, data)),
            Err((offset, source)) => Err(TensorCastError::Element {
                path: IndexPath::of(&shape, offset),
                source: Box::new(source),
            }),
        }
    }
}

fn cast_all<T: Cast>(data: &Data) -> Result<Data, (usize, CastError)> {
    for_data!(data, elements => {
        let mut cast = Vec::with_capacity(elements.len());
        for (offset, element) in elements.iter().enumerate() {
            cast.push(element.cast_to::<T>().map_err(|error| (offset, error))?);
        }
        Ok(T::wrap(cast))
    })
}

/// Makes elements of a type from values of each kind.
pub(super) trait Cast: Element {
    /// The least and the greatest finite number of the type, where it holds numbers.
    const BOUNDS: Option<(Number, Number)>;
    fn from_bool(value: bool) -> Result<Self, CastError>;
    fn from_integer(value: i128) -> Result<Self, CastError>;
    fn from_float(value: f64) -> Result<Self, CastError>;
    /// Takes a JSON number that has a fraction or an exponent, or that 64 bits do not hold.
    fn from_decimal(decimal: &str) -> Result<Self, CastError> {
        let value = parse::<f64>(decimal);
        if value.is_infinite() && Self::BOUNDS.is_some() {
            return Err(overflow::<Self>(decimal));
        }
        from_notation(value)
    }
    /// Takes a JSON number of few digits where that is quick, and comes to what the other ways come to.
    #[inline]
    fn from_short(_: Short) -> Option<Self> {
        None
    }
    /// Takes `NaN`, `Infinity` and `-Infinity` for a float, anything for a string.
    fn from_text(text: &str) -> Result<Self, CastError>;
    /// Makes an element of another type from this one.
    fn cast_to<T: Cast>(&self) -> Result<T, CastError>;
}

macro_rules! integers {
    ($($rust:ty),*) => { $(
        impl Cast for $rust {
            const BOUNDS: Option<(Number, Number)> =
                Some((Number::Integer(<$rust>::MIN as i128), Number::Integer(<$rust>::MAX as i128)));
            fn from_bool(value: bool) -> Result<Self, CastError> {
                Ok(value.into())
            }
            fn from_integer(value: i128) -> Result<Self, CastError> {
                value.try_into().map_err(|_| outside::<Self>(Number::Integer(value)))
            }
            #[inline]
            fn from_short(short: Short) -> Option<Self> {
                let whole = i64::try_from(short.digits).ok().filter(|_| short.places == 0)?;
                short.signed(whole).try_into().ok()
            }
            fn from_float(value: f64) -> Result<Self, CastError> {
                if value.trunc() != value || value.is_infinite() {
                    return Err(CastError::Fraction { value, dtype: Self::DTYPE });
                }
                // `as` saturates, and what lies outside i128 lies outside every type here.
                (value as i128).try_into().map_err(|_| outside::<Self>(Number::Float(value)))
            }
            fn from_text(text: &str) -> Result<Self, CastError> {
                Err(not_text::<Self>(text))
            }
            fn cast_to<T: Cast>(&self) -> Result<T, CastError> {
                T::from_integer((*self).into())
            }
        }
    )* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

fn outside<T: Element>(value: Number) -> CastError {
    CastError::Range { value, dtype: T::DTYPE }
}

/// Casts a number that was written with a fraction or an exponent, or that no 64-bit integer holds.
///
/// Such a number was rounded to float64 before it came here; beyond 2^53 it may not be the whole number that was
/// written, so an integer type does not take it.
pub(super) fn from_notation<T: Cast>(value: f64) -> Result<T, CastError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let element = T::from_float(value)?;
    let is_integer = !matches!(T::DTYPE, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
    if is_integer && value.abs() > EXACT {
        return Err(CastError::Rounded { value, dtype: T::DTYPE });
    }
    Ok(element)
}

#[cold]
fn overflow<T: Element>(literal: &str) -> CastError {
    CastError::Overflow {
        literal: Excerpt(literal).to_string(),
        dtype: T::DTYPE,
    }
}

/// Reads a JSON number, whose grammar is part of Rust's.
fn parse<F: FromStr<Err: fmt::Debug>>(literal: &str) -> F {
    literal.parse().expect("a JSON number is a Rust float")
}

fn not_text<T: Element>(text: &str) -> CastError {
    CastError::Text {
        text: text.to_owned(),
        dtype: T::DTYPE,
    }
}

macro_rules! floats {
    ($($rust:ty, $greatest:expr, $read:expr, $short:expr, $round:expr, $widen:expr;)*) => { $(
        impl Cast for $rust {
            const BOUNDS: Option<(Number, Number)> = Some((Number::Float(-$greatest), Number::Float($greatest)));
            fn from_bool(value: bool) -> Result<Self, CastError> {
                Ok($round(f64::from(u8::from(value))))
            }
            fn from_integer(value: i128) -> Result<Self, CastError> {
                // Every whole number up to here is exact, and most are far below it.
                if let Ok(small) = i64::try_from(value)
                    && small.unsigned_abs() <= 1 << <$rust>::MANTISSA_DIGITS
                {
                    return Ok($round(small as f64));
                }
                let nearest = Self::from_float(value as f64)?;
                let widened: f64 = $widen(nearest);
                if widened as i128 == value {
                    return Ok(nearest);
                }
                Err(CastError::Inexact { value, dtype: Self::DTYPE, nearest: Number::Float(widened) })
            }
            fn from_float(value: f64) -> Result<Self, CastError> {
                let nearest: $rust = $round(value);
                if nearest.is_infinite() && value.is_finite() {
                    return Err(outside::<Self>(Number::Float(value)));
                }
                Ok(nearest)
            }
            fn from_decimal(decimal: &str) -> Result<Self, CastError> {
                let nearest: $rust = $read(decimal);
                if nearest.is_infinite() {
                    return Err(overflow::<Self>(decimal));
                }
                Ok(nearest)
            }
            #[inline]
            fn from_short(short: Short) -> Option<Self> {
                $short(short)
            }
            fn from_text(text: &str) -> Result<Self, CastError> {
                match text {
                    "NaN" => Ok(<$rust>::NAN),
                    "Infinity" => Ok(<$rust>::INFINITY),
                    "-Infinity" => Ok(<$rust>::NEG_INFINITY),
                    _ => Err(not_text::<Self>(text)),
                }
            }
            fn cast_to<T: Cast>(&self) -> Result<T, CastError> {
                T::from_float($widen(*self))
            }
        }
    )* };
}

floats! {
    f16, f16::MAX.to_f64_const(), |decimal| f16::from_f64(parse(decimal)), |_| None, f16::from_f64, f16::to_f64;
    bf16, bf16::MAX.to_f64_const(), |decimal| bf16::from_f64(parse(decimal)), |_| None, bf16::from_f64, bf16::to_f64;
    f32, f32::MAX as f64, parse, Short::nearest_f32, |value: f64| value as f32, |value: f32| f64::from(value);
    f64, f64::MAX, parse, Short::nearest_f64, |value: f64| value, |value: f64| value;
}

impl Cast for bool {
    const BOUNDS: Option<(Number, Number)> = Some((Number::Integer(0), Number::Integer(1)));
    fn from_bool(value: bool) -> Result<Self, CastError> {
        Ok(value)
    }
    fn from_integer(value: i128) -> Result<Self, CastError> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(outside::<Self>(Number::Integer(value))),
        }
    }
    fn from_float(value: f64) -> Result<Self, CastError> {
        match value {
            0.0 => Ok(false),
            1.0 => Ok(true),
            _ if value.trunc() == value && value.is_finite() => Err(outside::<Self>(Number::Float(value))),
            _ => Err(CastError::Fraction {
                value,
                dtype: Self::DTYPE,
            }),
        }
    }
    fn from_text(text: &str) -> Result<Self, CastError> {
        Err(not_text::<Self>(text))
    }
    fn cast_to<T: Cast>(&self) -> Result<T, CastError> {
        T::from_bool(*self)
    }
}

impl Cast for String {
    const BOUNDS: Option<(Number, Number)> = None;
    fn from_bool(value: bool) -> Result<Self, CastError> {
        Err(CastError::BoolNotText(value))
    }
    fn from_integer(value: i128) -> Result<Self, CastError> {
        Err(CastError::NotText(Number::Integer(value)))
    }
    fn from_float(value: f64) -> Result<Self, CastError> {
        Err(CastError::NotText(Number::Float(value)))
    }
    fn from_text(text: &str) -> Result<Self, CastError> {
        Ok(text.to_owned())
    }
    fn cast_to<T: Cast>(&self) -> Result<T, CastError> {
        T::from_text(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_refused_where_it_would_change() {
        assert_eq!(u8::from_integer(255), Ok(255));
        assert_eq!(
            u8::from_integer(300).unwrap_err().to_string(),
            "300 is outside uint8, which goes from 0 to 255"
        );
        assert_eq!(f32::from_integer(1 << 24), Ok(16777216.0));
        assert_eq!(
            f32::from_integer((1 << 24) + 1).unwrap_err().to_string(),
            "float32 does not hold 16777217 exactly; the nearest is 16777216.0"
        );
        assert!(f64::from_integer((1 << 53) + 1).is_err());
        assert!(f64::from_integer(u64::MAX.into()).is_err());
        assert_eq!(f64::from_integer(i64::MIN.into()), Ok(i64::MIN as f64));
        assert!(f16::from_integer(2049).is_err());
        assert!(bf16::from_integer(257).is_err());
        assert_eq!(bool::from_integer(1), Ok(true));
        assert!(bool::from_integer(2).is_err());
    }

    #[test]
    fn a_fraction_is_rounded_to_a_float_and_refused_by_an_integer() {
        assert_eq!(f32::from_float(0.1), Ok(0.1f32));
        assert_eq!(f16::from_float(0.1), Ok(f16::from_f64(0.1)));
        assert_eq!(i64::from_float(-3.0), Ok(-3));
        assert_eq!(
            i64::from_float(1.5).unwrap_err().to_string(),
            "1.5 is not a whole number, as int64 needs"
        );
        assert!(i64::from_float(f64::NAN).is_err());
        assert!(i64::from_float(f64::INFINITY).is_err());
        assert!(i64::from_float(9.3e18).is_err());
        assert!(u64::from_float(1e300).is_err());
    }

    #[test]
    fn nothing_finite_becomes_an_infinity() {
        assert_eq!(
            f16::from_float(65520.0).unwrap_err().to_string(),
            "65520.0 is outside float16, which goes from -65504.0 to 65504.0"
        );
        assert!(f32::from_float(1e39).is_err());
        assert!(bf16::from_float(3.4e38).is_err());
        assert_eq!(f32::from_float(f64::INFINITY), Ok(f32::INFINITY));
        assert!(f32::from_float(f64::NAN).unwrap().is_nan());
    }

    #[test]
    fn a_tensor_that_does_not_fit_names_the_element() {
        let tensor = Tensor::from_vec([2, 3], vec![1i64, 2, 3, 4, 5, 300]).unwrap();
        let error = tensor.clone().cast(DType::U8).unwrap_err();
        assert_eq!(error.to_string(), "the element at [1][2] cannot be cast");
        assert_eq!(
            tensor.clone().cast(DType::F32).unwrap(),
            Tensor::from_vec([2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 300.0]).unwrap()
        );
        assert!(matches!(tensor.cast(DType::I4), Err(TensorCastError::NotHeld(_))));
    }

    #[test]
    fn strings_and_numbers_do_not_mix() {
        assert!(
            Tensor::from_vec([1], vec!["1".to_owned()])
                .unwrap()
                .cast(DType::I64)
                .is_err()
        );
        assert!(Tensor::from_vec([1], vec![1i64]).unwrap().cast(DType::String).is_err());
        assert!(Tensor::from_vec([1], vec![true]).unwrap().cast(DType::String).is_err());
        assert_eq!(format!("{:?}", Excerpt(&"é\n".repeat(30))).chars().count(), 20 * 3 + 3);
    }
}
