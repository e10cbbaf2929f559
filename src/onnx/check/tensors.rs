use prost::bytes::Bytes;

use crate::onnx::external::{is_external, typed_elements};
use crate::onnx::proto::{SparseTensorProto, TensorProto};
use crate::onnx::tensor_data::{Field, count_elements, stored_bytes};
use crate::onnx::visit::Place;
use crate::onnx::{Constant, Error};
use crate::tensor::DType;

/// Says why a sparse tensor is none.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SparseFault {
    #[error("it has no values or no indices")]
    Part,
    #[error("its values are not a list")]
    Values,
    #[error("its indices are not int64")]
    IndexType,
    #[error("its indices do not have the shape of its values and dimensions")]
    IndexShape,
    #[error("it has more values than elements")]
    Count,
    #[error("index {0} is outside of its dimensions")]
    Index(i64),
}

/// Checks that a tensor has a type, a size, and as much data as they need; where that is in another file, the walk over
/// external data checks it.
pub fn check_tensor(tensor: &TensorProto, place: Place<'_>) -> Result<(), Error> {
    let (dtype, elements) = typed_elements(tensor, place)?;
    if tensor.segment.is_some() {
        return Err(Error::Segment { tensor: place.label() });
    }
    let raw = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty());
    let mut typed = Field::ALL
        .into_iter()
        .filter(|field| !field.of(tensor).iter().all(Bytes::is_empty));
    let sources = usize::from(is_external(tensor)) + usize::from(raw.is_some()) + typed.clone().count();
    if dtype != DType::String && sources > 1 {
        return Err(Error::TwoSources { tensor: place.label() });
    }
    if is_external(tensor) {
        return Ok(());
    }
    if let Some(raw) = raw {
        return check_raw(raw.len() as u64, elements, dtype, place);
    }
    let (field, needed) = Field::holding(dtype, elements);
    if let Some(other) = typed.find(|found| *found != field) {
        return Err(Error::WrongField {
            tensor: place.label(),
            dtype,
            field: other.name(),
        });
    }
    let found = field
        .count(tensor)
        .ok_or_else(|| Error::Packed { tensor: place.label() })?;
    if needed != Some(found) {
        return Err(Error::ElementCount {
            tensor: place.label(),
            needed: needed.unwrap_or(u64::MAX),
            found,
        });
    }
    Ok(())
}

fn check_raw(found_bytes: u64, elements: u64, dtype: DType, place: Place<'_>) -> Result<(), Error> {
    if dtype == DType::String {
        return Err(Error::WrongField {
            tensor: place.label(),
            dtype,
            field: "raw_data",
        });
    }
    let needed_bytes = stored_bytes(dtype, elements).ok_or_else(|| Error::TensorSize {
        tensor: place.label(),
        elements,
        dtype,
    })?;
    if needed_bytes != found_bytes {
        return Err(Error::RawLength {
            tensor: place.label(),
            needed_bytes,
            found_bytes,
        });
    }
    Ok(())
}

/// Checks that the parts of a sparse tensor fit together and that every index lies within.
pub fn check_sparse(sparse: &SparseTensorProto, place: Place<'_>) -> Result<(), Error> {
    let elements = count_elements(&sparse.dims).map_err(|fault| Error::Dims {
        tensor: place.label(),
        fault,
    })?;
    find_fault(sparse, elements).map_or(Ok(()), |fault| {
        Err(Error::Sparse {
            tensor: place.label(),
            fault,
        })
    })
}

fn find_fault(sparse: &SparseTensorProto, elements: u64) -> Option<SparseFault> {
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Some(SparseFault::Part);
    };
    let &[count] = values.dims.as_slice() else {
        return Some(SparseFault::Values);
    };
    if DType::from_onnx(indices.data_type()) != Some(DType::I64) {
        return Some(SparseFault::IndexType);
    }
    // An index is a place in the flat tensor, or one place for each dimension.
    let flat = [i64::try_from(elements).unwrap_or(i64::MAX)];
    let bounds: &[i64] = match indices.dims.as_slice() {
        [rows] if *rows == count => &flat,
        [rows, rank] if *rows == count && *rank as u64 == sparse.dims.len() as u64 => &sparse.dims,
        _ => return Some(SparseFault::IndexShape),
    };
    if count < 0 || count as u64 > elements {
        return Some(SparseFault::Count);
    }
    if bounds.is_empty() || is_external(indices) {
        return None;
    }
    let written = Constant::Tensor(indices).ints()?;
    let mut outside = written.iter().zip(bounds.iter().cycle());
    outside
        .find(|(index, bound)| !(0..**bound).contains(*index))
        .map(|(index, _)| SparseFault::Index(*index))
}
