//! Reads bool tensors as bytes.
//!
//! Unsafe: a Rust `bool` is 0 or 1, and a hostile model can make ONNX Runtime give other bytes; read as `&[bool]`, as
//! `ort` offers them, they would be undefined behaviour.
#![allow(unsafe_code)]

use std::slice;

use ort::value::{DynTensorValueType, DynValue, TensorElementType, ValueType};

/// Copies the elements of a bool tensor, and takes every byte but 0 for true; `None` where the value is no bool tensor.
pub(super) fn bools(value: &DynValue) -> Option<Vec<bool>> {
    let ValueType::Tensor {
        ty: TensorElementType::Bool,
        shape,
        ..
    } = value.dtype()
    else {
        return None;
    };
    let count = shape.num_elements();
    if count == 0 {
        return Some(Vec::new());
    }
    let tensor = value.view().downcast::<DynTensorValueType>().ok()?;
    let data = tensor.data_ptr().cast::<u8>();
    if data.is_null() {
        return None;
    }
    // SAFETY: the tensor is of one byte an element, has `count` of them in host memory, where every output of the
    // processor's provider lies, and lives as long as `tensor` does.
    let bytes = unsafe { slice::from_raw_parts(data, count) };
    Some(bytes.iter().map(|&byte| byte != 0).collect())
}
