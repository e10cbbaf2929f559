use super::error::EncodeError;
use super::header::MAGIC;
use crate::tensor::{DType, Data, IndexPath, Tensor, bytes};

/// Is more than any array of strings that one would want.
const MOST_STRING_BYTES: usize = 1 << 32;

/// Writes a tensor as an `.npy` file of format 1.0, little end first, in C order.
///
/// Errors: only for strings: one that ends with NUL, or ones of such lengths that padding makes the file enormous.
pub fn encode(tensor: &Tensor) -> Result<Vec<u8>, EncodeError> {
    let (descr, item_bytes) = match tensor.data() {
        Data::String(elements) => {
            let characters = width(tensor.shape(), elements)?;
            (format!("<U{characters}"), characters * 4)
        }
        _ => (descr(tensor.dtype()).to_owned(), tensor.dtype().bits() / 8),
    };
    let mut file = header(&descr, tensor.shape());
    file.reserve_exact(tensor.data().len() * item_bytes);
    if let Data::String(elements) = tensor.data() {
        for element in elements {
            let end = file.len() + item_bytes;
            for point in element.chars() {
                file.extend_from_slice(&u32::from(point).to_le_bytes());
            }
            file.resize(end, 0);
        }
    } else {
        bytes::encode(tensor.data(), &mut file).expect("only strings have no fixed size");
    }
    Ok(file)
}

/// Finds how many characters the longest string has; NumPy has no strings of none.
fn width(shape: &[usize], elements: &[String]) -> Result<usize, EncodeError> {
    if let Some(offset) = elements.iter().position(|element| element.ends_with('\0')) {
        return Err(EncodeError::TrailingNul {
            path: IndexPath::of(shape, offset),
        });
    }
    let characters = elements
        .iter()
        .map(|element| element.chars().count())
        .max()
        .unwrap_or(0)
        .max(1);
    let count = elements.len();
    match (characters * 4).checked_mul(count) {
        Some(total) if total <= MOST_STRING_BYTES => Ok(characters),
        _ => Err(EncodeError::Padding { characters, count }),
    }
}

fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "<f2",
        DType::BF16 => "<V2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
        other => unreachable!("a tensor does not hold {other}"),
    }
}

/// Writes all that stands before the data.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    const LENGTH_END: usize = 10;
    const ALIGNMENT: usize = 64;
    // NumPy leaves room for the first size to grow to this many digits in place.
    const GROWTH_DIGITS: usize = 21;
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let tuple = match &sizes[..] {
        [only] => format!("({only},)"),
        sizes => format!("({})", sizes.join(", ")),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
    if let Some(first) = sizes.first() {
        text.extend(std::iter::repeat_n(' ', GROWTH_DIGITS - first.len()));
    }
    let end = (LENGTH_END + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', end - LENGTH_END - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("64 sizes of 20 digits are far below 65536 characters");
    let mut file = Vec::with_capacity(end);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[1, 0]);
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(text.as_bytes());
    file
}
