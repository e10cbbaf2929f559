//! Tensors to rten's values and back, by the types that the model declares.

use rten::{Value, ValueOrView, ValueView};
use rten_tensor::TensorView;
use rten_tensor::prelude::*;

use super::Error;
use crate::runtime::Error as RuntimeError;
use crate::tensor::{DType, Data, Port, Tensor};

/// Lends a tensor to rten; int64 and bool are converted, the rest is not copied.
///
/// Errors: the tensor is not of the port's type, or has an int64 value outside int32.
pub(super) fn lend<'a>(port: &Port, tensor: &'a Tensor) -> Result<ValueOrView<'a>, RuntimeError> {
    if tensor.dtype() != port.dtype {
        return Err(RuntimeError::InputType {
            name: port.name.clone(),
            expected: port.dtype,
            found: tensor.dtype(),
        });
    }
    let shape = tensor.shape();
    if !port.shape.admits(shape) {
        return Err(RuntimeError::InputShape {
            name: port.name.clone(),
            expected: port.shape.clone(),
            found: shape.to_owned(),
        });
    }
    Ok(match tensor.data() {
        Data::F32(elements) => view(shape, elements),
        Data::I32(elements) => view(shape, elements),
        Data::I8(elements) => view(shape, elements),
        Data::U8(elements) => view(shape, elements),
        Data::Bool(elements) => owned(shape, elements.iter().map(|&element| i32::from(element)).collect()),
        Data::I64(elements) => owned(shape, narrow(port, elements)?),
        _ => {
            return Err(RuntimeError::TypeNotHeld {
                name: port.name.clone(),
                dtype: port.dtype,
            });
        }
    })
}

fn narrow(port: &Port, elements: &[i64]) -> Result<Vec<i32>, Error> {
    let narrow = |&value| {
        i32::try_from(value).map_err(|_| Error::InputRange {
            name: port.name.clone(),
            value,
        })
    };
    elements.iter().map(narrow).collect()
}

fn view<'a, T>(shape: &[usize], elements: &'a [T]) -> ValueOrView<'a>
where
    ValueView<'a>: From<TensorView<'a, T>>,
{
    ValueOrView::View(TensorView::from_data(shape, elements).into())
}

fn owned(shape: &[usize], elements: Vec<i32>) -> ValueOrView<'static> {
    ValueOrView::Value(rten_tensor::Tensor::from_data(shape, elements).into())
}

/// Takes what rten gave, in the type that the port declares.
///
/// Errors: rten gave another type, or a sequence.
pub(super) fn take(port: &Port, value: Value) -> Result<Tensor, RuntimeError> {
    let (shape, data) = match (port.dtype, value) {
        (DType::F32, Value::FloatTensor(tensor)) => (tensor.shape().to_vec(), Data::F32(elements(tensor))),
        (DType::I32, Value::Int32Tensor(tensor)) => (tensor.shape().to_vec(), Data::I32(elements(tensor))),
        (DType::I8, Value::Int8Tensor(tensor)) => (tensor.shape().to_vec(), Data::I8(elements(tensor))),
        (DType::U8, Value::UInt8Tensor(tensor)) => (tensor.shape().to_vec(), Data::U8(elements(tensor))),
        (DType::I64, Value::Int32Tensor(tensor)) => {
            let wide = tensor.iter().map(|&element| i64::from(element)).collect();
            (tensor.shape().to_vec(), Data::I64(wide))
        }
        (DType::Bool, Value::Int32Tensor(tensor)) => {
            let truth = tensor.iter().map(|&element| element != 0).collect();
            (tensor.shape().to_vec(), Data::Bool(truth))
        }
        (expected, found) => {
            return Err(RuntimeError::OutputType {
                name: port.name.clone(),
                expected,
                found: kind(&found),
            });
        }
    };
    Ok(Tensor::new(shape, data)?)
}

/// Gives the elements in row-major order; a copy only where rten keeps them in another.
fn elements<T: Clone>(tensor: rten_tensor::Tensor<T>) -> Vec<T> {
    tensor.into_data()
}

fn kind(value: &Value) -> Option<DType> {
    match value {
        Value::FloatTensor(_) => Some(DType::F32),
        Value::Int32Tensor(_) => Some(DType::I32),
        Value::Int8Tensor(_) => Some(DType::I8),
        Value::UInt8Tensor(_) => Some(DType::U8),
        _ => None,
    }
}
