use ort::session::SessionInputValue;
use ort::value::{
    DynTensor, DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType,
};

use super::raw;
use crate::runtime::{Error, Foreign};
use crate::tensor::{DType, Data, Element, Port, Tensor};

/// Lends a tensor to ONNX Runtime: numbers are read where they lie, text is copied.
pub(super) fn lend<'a>(tensor: &'a Tensor, port: &Port) -> Result<SessionInputValue<'a>, Error> {
    check(tensor, port)?;
    let shape = tensor.shape();
    macro_rules! lend {
        ($elements:expr) => {
            TensorRef::from_array_view((shape, $elements.as_slice())).map(SessionInputValue::from)
        };
    }
    match tensor.data() {
        Data::F16(elements) => lend!(elements),
        Data::BF16(elements) => lend!(elements),
        Data::F32(elements) => lend!(elements),
        Data::F64(elements) => lend!(elements),
        Data::I8(elements) => lend!(elements),
        Data::I16(elements) => lend!(elements),
        Data::I32(elements) => lend!(elements),
        Data::I64(elements) => lend!(elements),
        Data::U8(elements) => lend!(elements),
        Data::U16(elements) => lend!(elements),
        Data::U32(elements) => lend!(elements),
        Data::U64(elements) => lend!(elements),
        Data::Bool(elements) => lend!(elements),
        Data::String(elements) => {
            OrtTensor::from_string_array((shape, elements.as_slice())).map(SessionInputValue::from)
        }
    }
    .map_err(|source| Error::Input {
        name: port.name.clone(),
        source: Foreign(source),
    })
}

/// Checks that a tensor is of the type and the shape that an input takes.
pub(super) fn check(tensor: &Tensor, port: &Port) -> Result<(), Error> {
    if tensor.dtype() != port.dtype {
        return Err(Error::InputType {
            name: port.name.clone(),
            expected: port.dtype,
            found: tensor.dtype(),
        });
    }
    let shape = tensor.shape();
    if !port.shape.admits(shape) || overflows(shape) {
        return Err(Error::InputShape {
            name: port.name.clone(),
            expected: port.shape.clone(),
            found: shape.to_vec(),
        });
    }
    Ok(())
}

/// Makes the tensor of an output from its elements as they lie in memory; every byte of a bool but 0 is true.
pub(super) fn from_bytes(port: &Port, shape: Vec<usize>, bytes: &[u8]) -> Result<Tensor, Error> {
    /// Copies into memory that is aligned for the elements.
    fn elements<T: Element + bytemuck::Pod>(bytes: &[u8]) -> Data {
        T::wrap(bytemuck::pod_collect_to_vec(bytes))
    }
    let data = match port.dtype {
        DType::F16 => elements::<half::f16>(bytes),
        DType::BF16 => elements::<half::bf16>(bytes),
        DType::F32 => elements::<f32>(bytes),
        DType::F64 => elements::<f64>(bytes),
        DType::I8 => elements::<i8>(bytes),
        DType::I16 => elements::<i16>(bytes),
        DType::I32 => elements::<i32>(bytes),
        DType::I64 => elements::<i64>(bytes),
        DType::U8 => elements::<u8>(bytes),
        DType::U16 => elements::<u16>(bytes),
        DType::U32 => elements::<u32>(bytes),
        DType::U64 => elements::<u64>(bytes),
        DType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
        other => {
            return Err(Error::TypeNotHeld {
                name: port.name.clone(),
                dtype: other,
            });
        }
    };
    Ok(Tensor::new(shape, data)?)
}

/// Gives the sizes of a tensor.
pub(super) fn shape(tensor: &DynTensor) -> Vec<usize> {
    tensor
        .shape()
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(0))
        .collect()
}

/// Tells whether the sizes multiply beyond what ONNX Runtime counts; a size of 0 among them does not help it.
fn overflows(shape: &[usize]) -> bool {
    let product = shape.iter().try_fold(1i64, |product, &size| {
        product.checked_mul(i64::try_from(size).ok()?.max(1))
    });
    product.is_none()
}

/// Checks that an output is a tensor of the type that the model declares, and gives its shape.
pub(super) fn check_output<'a>(value: &'a DynValue, port: &Port) -> Result<&'a ort::value::Shape, Error> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(Error::OutputNotTensor(port.name.clone()));
    };
    let found = dtype(*ty);
    if found != Some(port.dtype) {
        return Err(Error::OutputType {
            name: port.name.clone(),
            expected: port.dtype,
            found,
        });
    }
    Ok(shape)
}

/// Copies an output out of ONNX Runtime.
pub(super) fn copy(value: &DynValue, port: &Port) -> Result<Tensor, Error> {
    let shape = check_output(value, port)?;
    let data = match port.dtype {
        DType::F16 => numbers::<half::f16>(value),
        DType::BF16 => numbers::<half::bf16>(value),
        DType::F32 => numbers::<f32>(value),
        DType::F64 => numbers::<f64>(value),
        DType::I8 => numbers::<i8>(value),
        DType::I16 => numbers::<i16>(value),
        DType::I32 => numbers::<i32>(value),
        DType::I64 => numbers::<i64>(value),
        DType::U8 => numbers::<u8>(value),
        DType::U16 => numbers::<u16>(value),
        DType::U32 => numbers::<u32>(value),
        DType::U64 => numbers::<u64>(value),
        DType::Bool => raw::bools(value)
            .map(Data::Bool)
            .ok_or_else(|| ort::Error::new("a bool tensor has elements and no data")),
        DType::String => value.try_extract_strings().map(|(_, elements)| Data::String(elements)),
        other => {
            return Err(Error::TypeNotHeld {
                name: port.name.clone(),
                dtype: other,
            });
        }
    }
    .map_err(|source| Error::Output {
        name: port.name.clone(),
        source: Foreign(source),
    })?;
    let shape: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    Ok(Tensor::new(shape, data)?)
}

fn numbers<T: Element + PrimitiveTensorElementType + Copy>(value: &DynValue) -> Result<Data, ort::Error> {
    let (_, elements) = value.try_extract_tensor::<T>()?;
    Ok(T::wrap(elements.to_vec()))
}

/// Gives ONNX Runtime's element type for the types that tensors hold.
pub(super) fn element_type(dtype: DType) -> Option<TensorElementType> {
    Some(match dtype {
        DType::F16 => TensorElementType::Float16,
        DType::BF16 => TensorElementType::Bfloat16,
        DType::F32 => TensorElementType::Float32,
        DType::F64 => TensorElementType::Float64,
        DType::I8 => TensorElementType::Int8,
        DType::I16 => TensorElementType::Int16,
        DType::I32 => TensorElementType::Int32,
        DType::I64 => TensorElementType::Int64,
        DType::U8 => TensorElementType::Uint8,
        DType::U16 => TensorElementType::Uint16,
        DType::U32 => TensorElementType::Uint32,
        DType::U64 => TensorElementType::Uint64,
        DType::Bool => TensorElementType::Bool,
        DType::String => TensorElementType::String,
        _ => return None,
    })
}

/// Gives our name for ONNX Runtime's element type.
pub(super) fn dtype(ty: TensorElementType) -> Option<DType> {
    Some(match ty {
        TensorElementType::Float16 => DType::F16,
        TensorElementType::Bfloat16 => DType::BF16,
        TensorElementType::Float32 => DType::F32,
        TensorElementType::Float64 => DType::F64,
        TensorElementType::Int8 => DType::I8,
        TensorElementType::Int16 => DType::I16,
        TensorElementType::Int32 => DType::I32,
        TensorElementType::Int64 => DType::I64,
        TensorElementType::Uint8 => DType::U8,
        TensorElementType::Uint16 => DType::U16,
        TensorElementType::Uint32 => DType::U32,
        TensorElementType::Uint64 => DType::U64,
        TensorElementType::Bool => DType::Bool,
        TensorElementType::String => DType::String,
        TensorElementType::Complex64 => DType::Complex64,
        TensorElementType::Complex128 => DType::Complex128,
        TensorElementType::Float8E4M3FN => DType::F8E4M3FN,
        TensorElementType::Float8E4M3FNUZ => DType::F8E4M3FNUZ,
        TensorElementType::Float8E5M2 => DType::F8E5M2,
        TensorElementType::Float8E5M2FNUZ => DType::F8E5M2FNUZ,
        TensorElementType::Float8E8M0 => DType::F8E8M0,
        TensorElementType::Float4E2M1 => DType::F4E2M1,
        TensorElementType::Int4 => DType::I4,
        TensorElementType::Uint4 => DType::U4,
        TensorElementType::Int2 => DType::I2,
        TensorElementType::Uint2 => DType::U2,
        _ => return None,
    })
}
