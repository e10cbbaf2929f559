//! Lends mapped bytes to ONNX Runtime as initializers.
//!
//! Unsafe: `ort` makes tensors only of memory that it owns or borrows for a lifetime, and a session keeps initializers for
//! as long as it lives.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::{NonNull, null_mut};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use ort::sys::{ONNXTensorElementDataType, OrtValue};
use ort::{AsPointer, ortsys};
use prost::bytes::Bytes;

use crate::tensor::DType;

/// Is a tensor over mapped bytes, which it keeps.
pub(super) struct MappedTensor {
    value: NonNull<OrtValue>,
    _bytes: Bytes,
}

// SAFETY: the value is a description of memory that nobody writes; ONNX Runtime reads it from any thread.
unsafe impl Send for MappedTensor {}
// SAFETY: as above; no method changes anything.
unsafe impl Sync for MappedTensor {}

impl MappedTensor {
    /// Makes the tensor; `None` where its type or place is not one that ONNX Runtime takes from a caller.
    pub fn new(bytes: Bytes, dtype: DType, dims: &[i64]) -> Option<Self> {
        let kind = kind_of(dtype)?;
        let aligned = bytes.as_ptr().addr().is_multiple_of((dtype.bits() / 8).max(1));
        if !aligned || bytes.is_empty() {
            return None;
        }
        let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default).ok()?;
        let mut value = null_mut();
        let mut create = || -> ort::Result<()> {
            // SAFETY: the bytes are as many as the dimensions and the type need, which the check of the model has seen and
            // the call checks; they are never written through the value, for an initializer is constant; they live as
            // long as the value does.
            ortsys![unsafe CreateTensorWithDataAsOrtValue(
                memory.ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len(),
                dims.as_ptr(),
                dims.len(),
                kind,
                &mut value
            )?];
            Ok(())
        };
        create().ok()?;
        Some(MappedTensor {
            value: NonNull::new(value)?,
            _bytes: bytes,
        })
    }

    /// Hands the tensor to a session that is being made, which this value must outlive.
    pub fn add_to(&self, builder: &mut SessionBuilder, name: &str) -> Result<(), ort::Error> {
        let name = CString::new(name).map_err(|_| ort::Error::new("an initializer's name has a NUL"))?;
        // SAFETY: all three pointers are valid for the call; the name is copied, and the value is kept alive by the
        // session's owner.
        ortsys![unsafe AddInitializer(builder.ptr_mut(), name.as_ptr(), self.value.as_ptr())?];
        Ok(())
    }
}

impl Drop for MappedTensor {
    fn drop(&mut self) {
        // SAFETY: the value was made here and is released once; its bytes go after it.
        ortsys![unsafe ReleaseValue(self.value.as_ptr())];
    }
}

fn kind_of(dtype: DType) -> Option<ONNXTensorElementDataType> {
    use ONNXTensorElementDataType as Kind;
    Some(match dtype {
        DType::F32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DType::F64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        DType::F16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DType::BF16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        DType::I8 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DType::I16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        DType::I32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DType::I64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        DType::U8 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DType::U16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        DType::U32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        DType::U64 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        DType::Bool => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        DType::I4 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4,
        DType::U4 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4,
        _ => return None,
    })
}
