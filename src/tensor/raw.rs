//! Tensors as their elements alone, row-major, little end first.

use super::bytes::{self, Fault, Order};
use super::cast::At;
use super::{DType, Dim, IndexPath, Port, Shape, Tensor, TensorError, TensorName};

/// Says why bytes are not the elements that were wanted, or why a tensor has no such bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The type has no elements of fixed size that tensors hold.
    #[error("`{name}` is declared as {dtype}, which has no raw form")]
    NoForm { name: TensorName, dtype: DType },
    /// More than one dimension is unknown, or their number is.
    #[error("raw bytes leave at most one dimension open, and `{name}` is declared as {shape}")]
    Open { name: TensorName, shape: Shape },
    /// The number of bytes is not one that the shape can have.
    #[error("`{}`, declared as {}{}, takes {}, and there are {found_bytes} bytes",
        port.name, port.dtype, port.shape, Need { bytes: *unit_bytes, is_open: *is_open })]
    Length {
        port: Box<Port>,
        /// The size of the whole, or of one step of the open dimension.
        unit_bytes: u64,
        /// Whether a dimension is open, so that any multiple would do.
        is_open: bool,
        found_bytes: u64,
    },
    /// The shape makes no tensor.
    #[error("`{name}` makes no tensor")]
    Tensor {
        name: TensorName,
        #[source]
        source: TensorError,
    },
    /// A bool is neither 0 nor 1.
    #[error("`{name}`{} is the byte {byte}, neither 0 nor 1", At(path))]
    Bool {
        name: TensorName,
        path: IndexPath,
        byte: u8,
    },
    /// Strings have no raw form.
    #[error("a tensor of {0} has no raw form")]
    Encode(DType),
}

struct Need {
    bytes: u64,
    is_open: bool,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let multiple = if self.is_open { "a multiple of " } else { "" };
        write!(f, "{multiple}{} bytes", self.bytes)
    }
}

/// Reads a tensor of the port's type from its elements.
///
/// Shape: the port's; the size of at most one open dimension follows from the number of bytes.
/// Errors: [`Error`] where there is more than one, where the bytes do not fill the shape, and for strings.
pub fn decode(file: &[u8], port: &Port) -> Result<Tensor, Error> {
    let name = || port.name.clone();
    if !port.dtype.is_held() || port.dtype == DType::String {
        return Err(Error::NoForm {
            name: name(),
            dtype: port.dtype,
        });
    }
    let shape = infer(port, file.len())?;
    let data = bytes::decode(port.dtype, file, Order::Little).map_err(|fault| match fault {
        Fault::Bool { offset, byte } => Error::Bool {
            name: name(),
            path: IndexPath::of(&shape, offset),
            byte,
        },
        Fault::NoForm => Error::NoForm {
            name: name(),
            dtype: port.dtype,
        },
    })?;
    Tensor::new(shape, data).map_err(|source| Error::Tensor { name: name(), source })
}

/// Finds the shape that so many bytes fill.
fn infer(port: &Port, found: usize) -> Result<Vec<usize>, Error> {
    let open = || Error::Open {
        name: port.name.clone(),
        shape: port.shape.clone(),
    };
    let dims = port.shape.dims().ok_or_else(open)?;
    let mut shape = Vec::with_capacity(dims.len());
    let mut open_axis = None;
    for (axis, dim) in dims.iter().enumerate() {
        shape.push(match dim {
            Dim::Fixed(size) => usize::try_from(*size).unwrap_or(usize::MAX),
            Dim::Symbol(_) | Dim::Unknown if open_axis.is_none() => {
                open_axis = Some(axis);
                1
            }
            Dim::Symbol(_) | Dim::Unknown => return Err(open()),
        });
    }
    let unit = if shape.contains(&0) {
        Some(0)
    } else {
        shape
            .iter()
            .try_fold(port.dtype.bits() / 8, |product, &size| product.checked_mul(size))
    };
    let Some(unit) = unit else {
        return Err(Error::Tensor {
            name: port.name.clone(),
            source: TensorError::Overflow(shape),
        });
    };
    let fills = match open_axis {
        // Any size would do, so none follows from the bytes.
        Some(_) if unit == 0 => return Err(open()),
        Some(axis) => {
            shape[axis] = found / unit;
            found.is_multiple_of(unit)
        }
        None => found == unit,
    };
    if fills {
        return Ok(shape);
    }
    Err(Error::Length {
        port: Box::new(port.clone()),
        unit_bytes: unit as u64,
        is_open: open_axis.is_some(),
        found_bytes: found as u64,
    })
}

/// Writes the elements of a tensor.
///
/// Errors: [`Error::Encode`] for strings.
pub fn encode(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    bytes::encode(tensor.data(), &mut file).map_err(|_| Error::Encode(tensor.dtype()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::{any_tensor, exact_port, same};

    fn port(dtype: DType, dims: impl IntoIterator<Item = Dim>) -> Port {
        Port {
            name: TensorName::new("x"),
            dtype,
            shape: Shape::of(dims),
        }
    }

    #[test]
    fn the_one_open_dimension_follows_from_the_bytes() {
        let tensor = decode(
            &[1, 0, 2, 0, 3, 0, 4, 0],
            &port(DType::I16, [Dim::Unknown, Dim::Fixed(2)]),
        )
        .unwrap();
        assert_eq!(tensor, Tensor::from_vec([2, 2], vec![1i16, 2, 3, 4]).unwrap());
        assert_eq!(
            decode(&[], &port(DType::I16, [Dim::Fixed(2), Dim::Unknown]))
                .unwrap()
                .shape(),
            [2, 0]
        );
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_refused() {
        let message = |bytes: &[u8], port: &Port| decode(bytes, port).unwrap_err().to_string();
        assert_eq!(
            message(&[0; 7], &port(DType::I16, [Dim::Unknown, Dim::Fixed(2)])),
            "`x`, declared as int16[?, 2], takes a multiple of 4 bytes, and there are 7 bytes"
        );
        assert_eq!(
            message(&[0; 5], &port(DType::I16, [Dim::Fixed(2)])),
            "`x`, declared as int16[2], takes 4 bytes, and there are 5 bytes"
        );
        assert_eq!(
            message(&[], &port(DType::I16, [Dim::Unknown, Dim::Symbol("N".into())])),
            "raw bytes leave at most one dimension open, and `x` is declared as [?, N]"
        );
        assert!(message(&[], &port(DType::I16, [Dim::Unknown, Dim::Fixed(0)])).contains("at most one"));
        assert!(message(&[], &port(DType::String, [Dim::Unknown])).contains("no raw form"));
        assert!(message(&[], &port(DType::I4, [Dim::Unknown])).contains("no raw form"));
        assert_eq!(
            message(&[1, 0, 2, 1], &port(DType::Bool, [Dim::Fixed(2), Dim::Unknown])),
            "`x` at [1][0] is the byte 2, neither 0 nor 1"
        );
        let open_rank = Port {
            name: TensorName::new("x"),
            dtype: DType::F32,
            shape: Shape(None),
        };
        assert!(matches!(decode(&[], &open_rank), Err(Error::Open { .. })));
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let vast = Dim::Fixed(1 << 40);
        assert!(matches!(
            decode(&[0; 8], &port(DType::F32, [vast.clone(), vast])),
            Err(Error::Tensor { .. })
        ));
        assert!(matches!(
            decode(&[0; 8], &port(DType::F32, [Dim::Fixed(u64::MAX)])),
            Err(Error::Tensor { .. })
        ));
    }

    proptest! {
        #[test]
        fn every_tensor_comes_back(tensor in any_tensor()) {
            match encode(&tensor) {
                Ok(bytes) => prop_assert!(same(&decode(&bytes, &exact_port(&tensor)).unwrap(), &tensor)),
                Err(error) => prop_assert_eq!(error, Error::Encode(DType::String)),
            }
        }
    }
}
