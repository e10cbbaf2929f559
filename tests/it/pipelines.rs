//! Pictures and texts become what the reference implementations make of them, and answers are right.

mod answers;
mod odd;
mod reference;
mod samples;
mod verbs;

use std::path::PathBuf;

use gpux::gpuxfile;
use gpux::pipeline::{Pipeline, SideFiles};
use gpux::tensor::{DType, Dim, Port, Shape, Signature, TensorName};

use crate::support::deps;

fn dim(size: i64) -> Dim {
    match size {
        -1 => Dim::Unknown,
        size => Dim::Fixed(size as u64),
    }
}

/// An input or output; -1 is any size.
fn port(name: &str, dtype: DType, sizes: &[i64]) -> Port {
    Port {
        name: TensorName::new(name),
        dtype,
        shape: Shape::of(sizes.iter().copied().map(dim)),
    }
}

/// The pipeline that lines of a GPUXfile make for a model.
fn pipeline(lines: &str, signature: &Signature, files: &SideFiles) -> Pipeline {
    let text = format!("name: m\nmodel: m.onnx\n{lines}\n");
    let file = gpuxfile::parse(&text, "GPUXfile").unwrap_or_else(|error| panic!("{error}"));
    file.check(signature).unwrap_or_else(|error| panic!("{error}"));
    Pipeline::new(&file, signature, files).unwrap_or_else(|error| panic!("{error}"))
}

fn picture(name: &str) -> PathBuf {
    deps::fixture(&format!("pictures/{name}"))
}
