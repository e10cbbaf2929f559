//! What `ort` does not offer, or offers unsafely.
//!
//! Unsafe: a Rust `bool` is 0 or 1, and a hostile model can make ONNX Runtime give other bytes; read as `&[bool]`, as
//! `ort` offers them, they would be undefined behaviour. The rest are calls of the C interface.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::slice;

use ort::session::{RunOptions, Session as OrtSession};
use ort::value::{DynTensorValueType, DynValue, TensorElementType, ValueType};
use ort::{AsPointer, ortsys};

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

/// Tells for each input of a session whether it is read in host memory.
pub(super) fn inputs_on_host(session: &OrtSession) -> Result<Vec<bool>, ort::Error> {
    let count = session.inputs().len();
    let mut places = vec![std::ptr::null(); count];
    // SAFETY: there is room for as many pointers as the session has inputs; what they lead to belongs to the session.
    ortsys![unsafe SessionGetMemoryInfoForInputs(session.ptr(), places.as_mut_ptr(), count)?];
    places
        .into_iter()
        .map(|place| {
            if place.is_null() {
                return Ok(true);
            }
            let mut device = ort::sys::OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU;
            // SAFETY: the place lives as long as the session.
            ortsys![unsafe MemoryInfoGetDeviceType(place, &mut device)];
            Ok(device == ort::sys::OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU)
        })
        .collect()
}

/// Sets an option of runs, between two of them.
pub(super) fn set_run_option(options: &RunOptions, name: &CStr, value: &CStr) -> Result<(), ort::Error> {
    // SAFETY: the one other thing done to these options meanwhile is to raise their flag, which is a member of its own.
    ortsys![unsafe AddRunConfigEntry(options.ptr().cast_mut(), name.as_ptr(), value.as_ptr())?];
    Ok(())
}
