//! The messages of an inference, as tensors and back.

use prost::bytes::Bytes;

use super::generated::infer_parameter::ParameterChoice;
use super::generated::model_infer_request::InferInputTensor;
use super::generated::{InferParameter, InferTensorContents};
use crate::tensor::oip::{Error, decode_binary, from_datatype};
use crate::tensor::{DType, Data, NamedTensors, Signature, Tensor};

/// Reads the inputs of a request, in the signature's order.
///
/// Errors: an input is unknown, given twice or missing; it is of another type or shape than the model's, or its elements do not
/// fill its shape.
pub(super) fn inputs(
    signature: &Signature,
    inputs: Vec<InferInputTensor>,
    raw: &[Bytes],
) -> Result<Vec<Tensor>, Error> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(Error::RawCount {
            inputs: inputs.len(),
            raw: raw.len(),
        });
    }
    let mut named = NamedTensors::new(&signature.inputs);
    for (at, input) in inputs.into_iter().enumerate() {
        let port = named.claim(&input.name)?;
        let found = from_datatype(&input.datatype)?;
        if found != port.dtype {
            return Err(Error::InputType {
                name: port.name.clone(),
                expected: port.dtype,
                found,
            });
        }
        let sizes = input.shape.iter().map(|&size| usize::try_from(size));
        let shape: Vec<usize> = sizes.collect::<Result<_, _>>().map_err(|_| Error::Form {
            member: "shape",
            expected: "sizes that are not negative",
        })?;
        if !port.shape.admits(&shape) {
            return Err(Error::InputShape {
                name: port.name.clone(),
                expected: port.shape.clone(),
                found: shape,
            });
        }
        let tensor = match (raw.get(at), input.contents) {
            (Some(bytes), None) => decode_binary(&port.name, port.dtype, &shape, bytes)?,
            (None, Some(contents)) => {
                let data = elements(port.dtype, contents).ok_or_else(|| Error::BinaryOnly {
                    name: port.name.clone(),
                    dtype: port.dtype,
                })??;
                Tensor::new(shape, data).map_err(|source| Error::Tensor {
                    name: port.name.clone(),
                    source,
                })?
            }
            _ => {
                return Err(Error::OneForm {
                    name: port.name.clone(),
                });
            }
        };
        named.put(tensor);
    }
    Ok(named.all()?)
}

/// Takes the elements of a type; `None` where the protocol has no field for it.
fn elements(dtype: DType, contents: InferTensorContents) -> Option<Result<Data, Error>> {
    fn narrow<T: TryFrom<W>, W: Copy>(wide: &[W], wrap: fn(Vec<T>) -> Data) -> Result<Data, Error> {
        let each = wide.iter().map(|&number| T::try_from(number));
        let narrow: Result<Vec<T>, _> = each.collect();
        narrow.map(wrap).map_err(|_| Error::Form {
            member: "contents",
            expected: "numbers that the datatype holds",
        })
    }
    Some(match dtype {
        DType::Bool => Ok(Data::Bool(contents.bool_contents)),
        DType::I8 => narrow(&contents.int_contents, Data::I8),
        DType::I16 => narrow(&contents.int_contents, Data::I16),
        DType::I32 => Ok(Data::I32(contents.int_contents)),
        DType::I64 => Ok(Data::I64(contents.int64_contents)),
        DType::U8 => narrow(&contents.uint_contents, Data::U8),
        DType::U16 => narrow(&contents.uint_contents, Data::U16),
        DType::U32 => Ok(Data::U32(contents.uint_contents)),
        DType::U64 => Ok(Data::U64(contents.uint64_contents)),
        DType::F32 => Ok(Data::F32(contents.fp32_contents)),
        DType::F64 => Ok(Data::F64(contents.fp64_contents)),
        DType::String => {
            let each = contents
                .bytes_contents
                .into_iter()
                .map(|bytes| String::from_utf8(bytes.into()));
            let strings: Result<Vec<String>, _> = each.collect();
            strings.map(Data::String).map_err(|_| Error::Form {
                member: "bytes_contents",
                expected: "strings of UTF-8",
            })
        }
        _ => return None,
    })
}

/// Gives a parameter's whole number, whichever field it came in.
pub(super) fn whole(parameter: Option<&InferParameter>) -> Option<u64> {
    match parameter?.parameter_choice.as_ref()? {
        ParameterChoice::Int64Param(number) => u64::try_from(*number).ok(),
        ParameterChoice::Uint64Param(number) => Some(*number),
        _ => None,
    }
}
