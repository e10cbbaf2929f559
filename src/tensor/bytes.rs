//! Elements as bytes, in either byte order.

use half::{bf16, f16};

use super::{DType, Data, Element};

/// Says which end of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// Says why bytes are not elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The type has no elements of fixed size, or tensors do not hold it.
    NoForm,
    /// A bool is neither 0 nor 1.
    Bool { offset: usize, byte: u8 },
}

/// Reads the elements that fill `bytes`, whose length is a multiple of the size of one.
pub(super) fn decode(dtype: DType, bytes: &[u8], order: Order) -> Result<Data, Fault> {
    match dtype {
        DType::F16 => numbers::<f16, 2>(bytes, order),
        DType::BF16 => numbers::<bf16, 2>(bytes, order),
        DType::F32 => numbers::<f32, 4>(bytes, order),
        DType::F64 => numbers::<f64, 8>(bytes, order),
        DType::I8 => numbers::<i8, 1>(bytes, order),
        DType::I16 => numbers::<i16, 2>(bytes, order),
        DType::I32 => numbers::<i32, 4>(bytes, order),
        DType::I64 => numbers::<i64, 8>(bytes, order),
        DType::U8 => numbers::<u8, 1>(bytes, order),
        DType::U16 => numbers::<u16, 2>(bytes, order),
        DType::U32 => numbers::<u32, 4>(bytes, order),
        DType::U64 => numbers::<u64, 8>(bytes, order),
        DType::Bool => bools(bytes),
        _ => Err(Fault::NoForm),
    }
}

/// Appends the elements to `out`, little end first.
pub(super) fn encode(data: &Data, out: &mut Vec<u8>) -> Result<(), Fault> {
    match data {
        Data::F16(elements) => append(elements, out),
        Data::BF16(elements) => append(elements, out),
        Data::F32(elements) => append(elements, out),
        Data::F64(elements) => append(elements, out),
        Data::I8(elements) => append(elements, out),
        Data::I16(elements) => append(elements, out),
        Data::I32(elements) => append(elements, out),
        Data::I64(elements) => append(elements, out),
        Data::U8(elements) => append(elements, out),
        Data::U16(elements) => append(elements, out),
        Data::U32(elements) => append(elements, out),
        Data::U64(elements) => append(elements, out),
        Data::Bool(elements) => out.extend(elements.iter().map(|&element| u8::from(element))),
        Data::String(_) => return Err(Fault::NoForm),
    }
    Ok(())
}

/// Is a number of `SIZE` bytes.
trait Fixed<const SIZE: usize>: Element {
    fn from_little(bytes: [u8; SIZE]) -> Self;
    fn from_big(bytes: [u8; SIZE]) -> Self;
    fn to_little(&self) -> [u8; SIZE];
}

macro_rules! fixed {
    ($($rust:ty, $size:literal;)*) => { $(
        impl Fixed<$size> for $rust {
            fn from_little(bytes: [u8; $size]) -> Self {
                <$rust>::from_le_bytes(bytes)
            }
            fn from_big(bytes: [u8; $size]) -> Self {
                <$rust>::from_be_bytes(bytes)
            }
            fn to_little(&self) -> [u8; $size] {
                self.to_le_bytes()
            }
        }
    )* };
}

fixed! { f16, 2; bf16, 2; f32, 4; f64, 8; i8, 1; i16, 2; i32, 4; i64, 8; u8, 1; u16, 2; u32, 4; u64, 8; }

fn numbers<T: Fixed<SIZE>, const SIZE: usize>(bytes: &[u8], order: Order) -> Result<Data, Fault> {
    let (chunks, _) = bytes.as_chunks::<SIZE>();
    Ok(T::wrap(match order {
        Order::Little => chunks.iter().map(|&chunk| T::from_little(chunk)).collect(),
        Order::Big => chunks.iter().map(|&chunk| T::from_big(chunk)).collect(),
    }))
}

fn append<T: Fixed<SIZE>, const SIZE: usize>(elements: &[T], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + elements.len() * SIZE, 0);
    let (chunks, _) = out[start..].as_chunks_mut::<SIZE>();
    for (chunk, element) in chunks.iter_mut().zip(elements) {
        *chunk = element.to_little();
    }
}

fn bools(bytes: &[u8]) -> Result<Data, Fault> {
    match bytes.iter().position(|&byte| byte > 1) {
        Some(offset) => Err(Fault::Bool {
            offset,
            byte: bytes[offset],
        }),
        None => Ok(Data::Bool(bytes.iter().map(|&byte| byte == 1).collect())),
    }
}
