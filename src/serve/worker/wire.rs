//! The messages between a server and its workers, and the description of a worker's model. Pure.
//!
//! All numbers are little-endian. A worker runs a model that nobody vouches for, so its messages are read as carefully as a
//! stranger's.

use serde_json::{Value, json};

use crate::predict::generate::{End, Generated};
use crate::serve::Fault;
use crate::tensor::{DType, Dim, MAX_RANK, Port, Shape, Signature, TensorName};

/// The longest message. Units: bytes.
pub const MOST_BYTES: usize = 1 << 20;
/// The most tensors of a call.
const MOST_TENSORS: usize = 4096;

/// Says where a tensor lies in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// How many bytes it takes; each tensor lies behind the one before.
    pub size_bytes: u64,
}

/// Is a call, as it goes to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Counts the calls of an instance.
    pub call: u64,
    /// Whether all that was said before has been heard, so that shared memory is written from its start again.
    pub is_first: bool,
    /// How long the call may take. Units: microseconds.
    pub allowed_us: Option<u64>,
    /// How many tokens there may be, where text is wanted and not the outputs.
    pub most_tokens: Option<u64>,
    pub inputs: Vec<Placed>,
}

/// Says how a call ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Nobody waits for it any more.
    Cancelled,
    /// What was said so far is the whole text.
    NoMoreWords,
}

/// Ends a call that goes on, or is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    pub instance: u32,
    pub call: u64,
    pub halt: Halt,
}

impl Interruption {
    /// Writes it as a message.
    pub fn encode(&self) -> Vec<u8> {
        let halt = [u8::from(self.halt == Halt::NoMoreWords)];
        [&self.instance.to_le_bytes()[..], &self.call.to_le_bytes(), &halt].concat()
    }

    /// Reads it from a message.
    ///
    /// Errors: bytes that are none, or that go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let interruption = Interruption {
            instance: u32::from_le_bytes(from.take()?),
            call: from.u64()?,
            halt: match from.u8()? {
                0 => Halt::Cancelled,
                _ => Halt::NoMoreWords,
            },
        };
        from.end()?;
        Ok(interruption)
    }
}

/// Is what came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub call: u64,
    pub made: Result<Made, Fault>,
}

/// Is what a worker made for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// The outputs.
    Outputs(Vec<Placed>),
    /// A part of the text; more follows.
    Part(String),
    /// The text.
    Text(Generated),
}

/// Says that a message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be read")]
pub struct Malformed;

impl Order {
    /// Writes it as a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64);
        to.extend(self.call.to_le_bytes());
        to.push(self.is_first.into());
        to.extend(self.allowed_us.unwrap_or(u64::MAX).to_le_bytes());
        to.push(self.most_tokens.is_some().into());
        to.extend(self.most_tokens.unwrap_or(0).to_le_bytes());
        put_all(&self.inputs, &mut to);
        to
    }

    /// Reads it from a message.
    ///
    /// Errors: bytes that are none, or that go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let order = Order {
            call: from.u64()?,
            is_first: from.u8()? != 0,
            allowed_us: Some(from.u64()?).filter(|&allowed| allowed != u64::MAX),
            most_tokens: match (from.u8()?, from.u64()?) {
                (0, _) => None,
                (_, most) => Some(most),
            },
            inputs: from.all()?,
        };
        from.end()?;
        Ok(order)
    }
}

impl Outcome {
    /// Writes it as a message; a text too long for one is cut off.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64);
        to.extend(self.call.to_le_bytes());
        let (code, text) = match &self.made {
            Ok(Made::Outputs(_)) => (0, ""),
            Err(Fault::Cancelled) => (1, ""),
            Err(Fault::DeadlinePassed) => (2, ""),
            Err(Fault::Refused(text)) => (3, text.as_str()),
            Err(Fault::Failed(text)) => (4, text.as_str()),
            Err(Fault::Lost | Fault::Away) => (4, "the worker lost the call"),
            Ok(Made::Part(text)) => (5, text.as_str()),
            Ok(Made::Text(generated)) => (6, generated.text.as_str()),
        };
        to.push(code);
        match &self.made {
            Ok(Made::Outputs(outputs)) => {
                put_all(outputs, &mut to);
                return to;
            }
            Ok(Made::Text(generated)) => {
                to.push(generated.end as u8);
                to.extend((generated.tokens.len() as u32).to_le_bytes());
                to.extend(generated.tokens.iter().flat_map(|token| token.to_le_bytes()));
            }
            _ => {}
        }
        to.extend(text.bytes().take(MOST_BYTES / 2));
        to
    }

    /// Reads it from a message.
    ///
    /// Errors: bytes that are none, or that go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let call = from.u64()?;
        let code = from.u8()?;
        let text = |from: Reader<'_>| String::from_utf8_lossy(from.0).into_owned();
        let made = match code {
            0 => {
                let outputs = from.all()?;
                from.end()?;
                Ok(Made::Outputs(outputs))
            }
            1 => Err(Fault::Cancelled),
            2 => Err(Fault::DeadlinePassed),
            3 => Err(Fault::Refused(text(from))),
            4 => Err(Fault::Failed(text(from))),
            5 => Ok(Made::Part(text(from))),
            6 => {
                let end = match from.u8()? {
                    0 => End::Token,
                    1 => End::Length,
                    2 => End::Stopped,
                    _ => return Err(Malformed),
                };
                let count = u32::from_le_bytes(from.take()?) as usize;
                if count > MOST_BYTES / 4 {
                    return Err(Malformed);
                }
                let tokens = (0..count).map(|_| from.take().map(u32::from_le_bytes));
                let tokens = tokens.collect::<Result<_, _>>()?;
                let text = text(from);
                Ok(Made::Text(Generated { text, tokens, end }))
            }
            _ => return Err(Malformed),
        };
        Ok(Outcome { call, made })
    }
}

fn put_all(tensors: &[Placed], to: &mut Vec<u8>) {
    to.extend((tensors.len() as u32).to_le_bytes());
    for tensor in tensors {
        to.push(tensor.dtype.onnx() as u8);
        to.push(tensor.shape.len() as u8);
        for &size in &tensor.shape {
            to.extend((size as u64).to_le_bytes());
        }
        to.extend(tensor.size_bytes.to_le_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    fn all(&mut self) -> Result<Vec<Placed>, Malformed> {
        let count = u32::from_le_bytes(self.take()?) as usize;
        if count > MOST_TENSORS {
            return Err(Malformed);
        }
        (0..count).map(|_| self.placed()).collect()
    }

    fn placed(&mut self) -> Result<Placed, Malformed> {
        let dtype = DType::from_onnx(self.u8()?.into()).ok_or(Malformed)?;
        let rank = self.u8()?;
        if usize::from(rank) > MAX_RANK {
            return Err(Malformed);
        }
        let shape = (0..rank).map(|_| usize::try_from(self.u64()?).map_err(|_| Malformed));
        Ok(Placed {
            dtype,
            shape: shape.collect::<Result<_, _>>()?,
            size_bytes: self.u64()?,
        })
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Writes what a model takes and gives.
pub fn signature_to_json(signature: &Signature) -> Value {
    json!({"inputs": ports_to_json(&signature.inputs), "outputs": ports_to_json(&signature.outputs)})
}

/// Reads what a model takes and gives.
pub fn signature_from_json(value: &Value) -> Result<Signature, Malformed> {
    Ok(Signature {
        inputs: ports_from_json(&value["inputs"])?,
        outputs: ports_from_json(&value["outputs"])?,
    })
}

fn ports_to_json(ports: &[Port]) -> Value {
    let each = ports.iter().map(|port| {
        let dims = port.shape.dims().map(|dims| {
            let each = dims.iter().map(|dim| match dim {
                Dim::Fixed(size) => json!(size),
                Dim::Symbol(name) => json!(name),
                Dim::Unknown => Value::Null,
            });
            each.collect::<Vec<_>>()
        });
        json!({"name": port.name.as_str(), "dtype": port.dtype.onnx(), "dims": dims})
    });
    each.collect()
}

fn ports_from_json(value: &Value) -> Result<Vec<Port>, Malformed> {
    let ports = value.as_array().ok_or(Malformed)?;
    ports.iter().map(port_from_json).collect()
}

fn port_from_json(value: &Value) -> Result<Port, Malformed> {
    let dtype = value["dtype"]
        .as_i64()
        .and_then(|number| DType::from_onnx(i32::try_from(number).ok()?));
    let dims = match &value["dims"] {
        Value::Null => None,
        Value::Array(dims) => Some(dims.iter().map(dim_from_json).collect::<Result<_, _>>()?),
        _ => return Err(Malformed),
    };
    Ok(Port {
        name: TensorName::new(value["name"].as_str().ok_or(Malformed)?),
        dtype: dtype.ok_or(Malformed)?,
        shape: Shape(dims),
    })
}

fn dim_from_json(value: &Value) -> Result<Dim, Malformed> {
    match value {
        Value::Null => Ok(Dim::Unknown),
        Value::String(name) => Ok(Dim::Symbol(name.clone())),
        other => other.as_u64().map(Dim::Fixed).ok_or(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn placed() -> impl Strategy<Value = Placed> {
        let dtype = prop::sample::select(DType::all().collect::<Vec<_>>());
        (dtype, vec(any::<usize>(), 0..5), any::<u64>()).prop_map(|(dtype, shape, size_bytes)| Placed {
            dtype,
            shape,
            size_bytes,
        })
    }

    proptest! {
        #[test]
        fn messages_come_back(call: u64, is_first: bool, allowed in prop::option::of(0..u64::MAX), most_tokens: Option<u64>, tensors in vec(placed(), 0..4)) {
            let order = Order { call, is_first, allowed_us: allowed, most_tokens, inputs: tensors.clone() };
            prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
            for halt in [Halt::Cancelled, Halt::NoMoreWords] {
                let interruption = Interruption { instance: call as u32, call, halt };
                prop_assert_eq!(Interruption::decode(&interruption.encode()), Ok(interruption));
            }
            let generated = Generated { text: "ä\n".into(), tokens: vec![7, u32::MAX], end: End::Stopped };
            for made in [
                Ok(Made::Outputs(tensors)),
                Ok(Made::Part("日".into())),
                Ok(Made::Text(generated)),
                Err(Fault::Cancelled),
                Err(Fault::DeadlinePassed),
                Err(Fault::Refused("ä".into())),
                Err(Fault::Failed(String::new())),
            ] {
                let outcome = Outcome { call, made };
                prop_assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..80)) {
            let _ = (Order::decode(&bytes), Outcome::decode(&bytes), Interruption::decode(&bytes));
        }
    }

    #[test]
    fn a_signature_comes_back() {
        let port = |name: &str, shape| Port {
            name: TensorName::new(name),
            dtype: DType::I4,
            shape,
        };
        let dims = [Dim::Fixed(3), Dim::Symbol("N".into()), Dim::Unknown];
        let signature = Signature {
            inputs: vec![port("x\n", Shape::of(dims)), port("scalar", Shape::of([]))],
            outputs: vec![port("y", Shape(None))],
        };
        assert_eq!(signature_from_json(&signature_to_json(&signature)), Ok(signature));
        assert_eq!(
            signature_from_json(&json!({"inputs": [{}], "outputs": []})),
            Err(Malformed)
        );
    }
}
