use super::binary;
use super::datatype::datatype;
use super::error::Error;
use crate::tensor::{DType, Port, Tensor, json};

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

/// Writes an answer: the body, and how many bytes of it are JSON where it has a binary part.
///
/// Errors: [`Error::BinaryOnly`] for a type that JSON has no elements of and that is not wanted in binary form.
pub fn encode_response(response: &Response<'_>) -> Result<(Vec<u8>, Option<usize>), Error> {
    let mut tail = Vec::new();
    let mut body = Vec::with_capacity(1 << 8);
    let member = |body: &mut Vec<u8>, before: &str, value: &str| {
        body.extend(before.as_bytes());
        serde_json::to_writer(body, value).expect("a string has a JSON form");
    };
    member(&mut body, "{\"model_name\":", response.model_name);
    member(&mut body, ",\"model_version\":", response.model_version);
    if let Some(id) = response.id {
        member(&mut body, ",\"id\":", id);
    }
    body.extend(b",\"outputs\":[");
    for (at, &(port, tensor, is_binary)) in response.outputs.iter().enumerate() {
        let dtype = tensor.dtype();
        if !is_binary && matches!(dtype, DType::F16 | DType::BF16) {
            return Err(Error::BinaryOnly {
                name: port.name.clone(),
                dtype,
            });
        }
        member(
            &mut body,
            if at == 0 { "{\"name\":" } else { ",{\"name\":" },
            port.name.as_str(),
        );
        member(&mut body, ",\"datatype\":", &datatype(dtype));
        body.extend(b",\"shape\":");
        serde_json::to_writer(&mut body, tensor.shape()).expect("numbers have a JSON form");
        if is_binary {
            let size_bytes = binary::encode(tensor, &mut tail);
            body.extend(format!(",\"parameters\":{{\"binary_data_size\":{size_bytes}}}").bytes());
        } else {
            body.extend(b",\"data\":");
            json::append_flat(tensor, &mut body);
        }
        body.push(b'}');
    }
    body.extend(b"]}");
    let has_tail = response.outputs.iter().any(|&(.., is_binary)| is_binary);
    let header_bytes = body.len();
    body.append(&mut tail);
    Ok((body, has_tail.then_some(header_bytes)))
}
