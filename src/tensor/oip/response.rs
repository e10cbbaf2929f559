use serde::Serialize;

use super::binary;
use super::datatype::datatype;
use super::error::Error;
use crate::tensor::json::Flat;
use crate::tensor::{DType, Port, Tensor};

/// Is an answer, as it goes to the client.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The model's name.
    pub model_name: &'a str,
    /// Its version.
    pub model_version: &'a str,
    /// The client's own name for the request.
    pub id: Option<&'a str>,
    /// The outputs in the client's order, and whether each goes into the binary part.
    pub outputs: &'a [(&'a Port, &'a Tensor, bool)],
}

#[derive(Serialize)]
struct Header<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: String,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Flat<'a>>,
}

#[derive(Serialize)]
struct Parameters {
    binary_data_size: usize,
}

/// Writes an answer: the body, and how many bytes of it are JSON where it has a binary part.
///
/// Errors: [`Error::BinaryOnly`] for a type that JSON has no elements of and that is not wanted in binary form.
pub fn encode_response(response: &Response<'_>) -> Result<(Vec<u8>, Option<usize>), Error> {
    let mut tail = Vec::new();
    let mut outputs = Vec::with_capacity(response.outputs.len());
    for &(port, tensor, is_binary) in response.outputs {
        if !is_binary && matches!(tensor.dtype(), DType::F16 | DType::BF16) {
            return Err(Error::BinaryOnly {
                name: port.name.clone(),
                dtype: tensor.dtype(),
            });
        }
        outputs.push(Output {
            name: port.name.as_str(),
            datatype: datatype(tensor.dtype()),
            shape: tensor.shape(),
            parameters: is_binary.then(|| Parameters {
                binary_data_size: binary::encode(tensor, &mut tail),
            }),
            data: (!is_binary).then_some(Flat(tensor)),
        });
    }
    let has_tail = outputs.iter().any(|output| output.parameters.is_some());
    let header = Header {
        model_name: response.model_name,
        model_version: response.model_version,
        id: response.id,
        outputs,
    };
    let mut body = serde_json::to_vec(&header).expect("the header has no map keys and its numbers are finite");
    let header_bytes = body.len();
    body.append(&mut tail);
    Ok((body, has_tail.then_some(header_bytes)))
}
