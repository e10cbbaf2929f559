use super::error::Error;
use super::header::{Header, Item, split};
use crate::tensor::bytes::{self, Fault, Order};
use crate::tensor::value::count;
use crate::tensor::{DType, Data, Element, IndexPath, Port, Tensor, TensorError, for_data};

/// Reads the tensor of an `.npy` file, with the type that the file has.
///
/// Errors: [`Error`] where the file is malformed, holds what tensors do not, or has more or fewer bytes than its shape
/// needs. Nothing is allocated before the length is known to be right.
pub fn decode(file: &[u8]) -> Result<Tensor, Error> {
    let (header, data) = split(file)?;
    read(header, data)
}

/// Reads the tensor of an `.npy` file for a port: untyped items of two bytes are bfloat16 where the port is, the shape is
/// checked, and elements are cast as [`Port::fit`] says.
///
/// Errors: as [`decode`], and where the tensor does not fit the port.
pub fn decode_for(file: &[u8], port: &Port) -> Result<Tensor, Error> {
    let read = || {
        let (mut header, data) = split(file)?;
        if header.item == Item::Untyped && port.dtype == DType::BF16 {
            header.item = Item::Fixed {
                dtype: DType::BF16,
                order: Order::Little,
            };
        }
        read(header, data)
    };
    let tensor = read().map_err(|source| Error::For {
        name: port.name.clone(),
        source: Box::new(source),
    })?;
    Ok(port.fit(tensor)?)
}

fn read(header: Header, data: &[u8]) -> Result<Tensor, Error> {
    let Header {
        item,
        fortran_order,
        shape,
    } = header;
    let item_bytes = item.size_bytes();
    let Some(count) = count(&shape) else {
        return Err(Error::Shape(TensorError::Overflow(shape)));
    };
    let Some(expected) = count.checked_mul(item_bytes) else {
        return Err(Error::Overflow { shape, item_bytes });
    };
    if expected != data.len() {
        return Err(Error::Length {
            expected_bytes: expected as u64,
            found_bytes: data.len() as u64,
        });
    }
    let place = |offset| place(&shape, fortran_order, offset);
    let elements = match item {
        Item::Fixed { dtype, order } => bytes::decode(dtype, data, order).map_err(|fault| match fault {
            Fault::Bool { offset, byte } => Error::Bool {
                path: place(offset),
                byte,
            },
            Fault::NoForm => Error::Descr(dtype.to_string()),
        })?,
        Item::Text { item_bytes, order } => {
            strings(data, count, item_bytes, |item| unicode(item, order)).map_err(|fault| fault.explain(place))?
        }
        Item::Bytes { item_bytes } => strings(data, count, item_bytes, utf8).map_err(|fault| fault.explain(place))?,
        Item::Untyped => return Err(Error::Untyped),
    };
    let elements = if fortran_order && shape.len() > 1 {
        for_data!(&elements, elements => Element::wrap(to_row_major(elements, &shape)))
    } else {
        elements
    };
    Tensor::new(shape, elements).map_err(Error::Shape)
}

/// Finds the place of the element that is stored at `offset`.
fn place(shape: &[usize], fortran_order: bool, offset: usize) -> IndexPath {
    if !fortran_order {
        return IndexPath::of(shape, offset);
    }
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let mut path = IndexPath::of(&reversed, offset);
    path.0.reverse();
    path
}

/// Puts elements that are stored first dimension fastest into the order last dimension fastest.
fn to_row_major<T: Clone>(stored: &[T], shape: &[usize]) -> Vec<T> {
    let mut elements = Vec::with_capacity(stored.len());
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &size in shape {
        strides.push(stride);
        stride *= size;
    }
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    while elements.len() < stored.len() {
        elements.push(stored[offset].clone());
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    elements
}

/// Says why [`strings`] gave none.
enum NoStrings {
    /// The one at this offset is not Unicode.
    Invalid(usize),
    /// Items of no bytes, so that a file of nothing would make any number of strings.
    Empty,
}

impl NoStrings {
    fn explain(self, place: impl Fn(usize) -> IndexPath) -> Error {
        match self {
            NoStrings::Invalid(offset) => Error::Text { path: place(offset) },
            NoStrings::Empty => Error::Descr("U0".to_owned()),
        }
    }
}

fn strings(
    data: &[u8],
    count: usize,
    item_bytes: usize,
    read: impl Fn(&[u8]) -> Option<String>,
) -> Result<Data, NoStrings> {
    if count == 0 {
        return Ok(Data::String(Vec::new()));
    }
    if item_bytes == 0 {
        return Err(NoStrings::Empty);
    }
    let items = data.chunks_exact(item_bytes).enumerate();
    let elements: Result<Vec<String>, NoStrings> = items
        .map(|(offset, item)| read(item).ok_or(NoStrings::Invalid(offset)))
        .collect();
    elements.map(Data::String)
}

/// Reads code points up to the NULs that pad them.
fn unicode(item: &[u8], order: Order) -> Option<String> {
    let (points, _) = item.as_chunks::<4>();
    let end = points
        .iter()
        .rposition(|point| *point != [0; 4])
        .map_or(0, |last| last + 1);
    let read = |point: &[u8; 4]| match order {
        Order::Little => u32::from_le_bytes(*point),
        Order::Big => u32::from_be_bytes(*point),
    };
    points[..end].iter().map(|point| char::from_u32(read(point))).collect()
}

/// Reads UTF-8 up to the NULs that pad it.
fn utf8(item: &[u8]) -> Option<String> {
    let end = item.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    std::str::from_utf8(&item[..end]).ok().map(str::to_owned)
}
