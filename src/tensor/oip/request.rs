use std::borrow::Cow;

use super::binary;
use super::datatype::from_datatype;
use super::error::Error;
use crate::tensor::json::scan::{Expected, Scanner, SyntaxError, Token};
use crate::tensor::json::{self};
use crate::tensor::{DType, Dim, MAX_RANK, NamedTensors, Port, Shape, Signature, Tensor};

/// The most entries of `inputs` and of `outputs`.
const MOST_ENTRIES: usize = 4096;
/// How deep values that are skipped may be nested.
const MOST_DEPTH: usize = 64;

/// Is what a client asks of a model.
#[derive(Debug, Default)]
pub struct Request {
    /// The client's own name for the request, given back with the answer.
    pub id: Option<String>,
    /// A tensor for each input, in the signature's order.
    pub inputs: Vec<Tensor>,
    /// The outputs that are wanted, in the client's order; all of them in the signature's where the client names none.
    pub outputs: Vec<WantedOutput>,
    /// The priority that the client gives the request: 1 is the highest, 0 the model's own.
    pub priority: u64,
    /// How long the client waits. Units: microseconds; 0 is the server's own.
    pub timeout_us: u64,
}

/// Is an output that a client wants, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its place in the signature.
    pub at: usize,
    /// Whether its elements come in the binary part.
    pub is_binary: bool,
}

/// Reads a request.
///
/// `header_bytes` is what `Inference-Header-Content-Length` says: how much of the body is JSON; `None` where all is.
/// Errors: [`Error`] with the input and what is wrong with it; nothing is allocated beyond what the body holds.
pub fn decode_request(body: &[u8], header_bytes: Option<usize>, signature: &Signature) -> Result<Request, Error> {
    let said_bytes = header_bytes.unwrap_or(body.len());
    let (header, tail) = body.split_at_checked(said_bytes).ok_or(Error::HeaderLength {
        said_bytes,
        found_bytes: body.len(),
    })?;
    let mut reader = Reader {
        scanner: Scanner::new(header).map_err(Error::Syntax)?,
        signature,
        tensors: NamedTensors::new(&signature.inputs),
        tail,
        tail_bytes: tail.len() as u64,
        said_bytes: 0,
    };
    reader.document()
}

/// Is what an entry of `inputs` or `outputs` says of itself.
#[derive(Default)]
struct Entry<'t> {
    name: Option<Cow<'t, str>>,
    datatype: Option<DType>,
    shape: Option<Vec<usize>>,
    binary_bytes: Option<u64>,
    is_binary: Option<bool>,
    data: Elements<'t>,
}

/// Is where the elements of an entry stand in the text.
#[derive(Default)]
enum Elements<'t> {
    #[default]
    Absent,
    /// They came before the type or the shape, and are read when the entry ends.
    Text(&'t str),
    Read(Tensor),
}

/// Is what `parameters` may say that means something here.
#[derive(Default)]
struct Parameters {
    binary_data_size: Option<u64>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
    priority: Option<u64>,
    timeout: Option<u64>,
}

struct Reader<'t, 's> {
    scanner: Scanner<'t>,
    signature: &'s Signature,
    tensors: NamedTensors<'s>,
    /// What is left of the binary part.
    tail: &'t [u8],
    tail_bytes: u64,
    /// How many bytes of the binary part the inputs have claimed.
    said_bytes: u64,
}

impl<'t> Reader<'t, '_> {
    fn document(&mut self) -> Result<Request, Error> {
        let mut request = Request::default();
        let mut parameters = Parameters::default();
        let mut wanted: Option<Vec<(usize, Option<bool>)>> = None;
        self.members("the request", |reader, name| {
            match name {
                "id" => request.id = Some(reader.string("id")?.into_owned()),
                "parameters" => parameters = reader.parameters()?,
                "inputs" => reader.entries("inputs", Reader::input)?,
                "outputs" => {
                    let mut outputs = Vec::new();
                    reader.entries("outputs", |reader, entry| {
                        outputs.push(reader.output(entry)?);
                        Ok(())
                    })?;
                    wanted = (!outputs.is_empty()).then_some(outputs);
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.scanner.end().map_err(Error::Syntax)?;
        if self.said_bytes != self.tail_bytes {
            return Err(self.binary_length());
        }
        let empty = NamedTensors::new(&self.signature.inputs);
        request.inputs = std::mem::replace(&mut self.tensors, empty).all()?;
        let is_binary = parameters.binary_data_output.unwrap_or(false);
        request.outputs = match wanted {
            Some(wanted) => wanted
                .into_iter()
                .map(|(at, own)| WantedOutput {
                    at,
                    is_binary: own.unwrap_or(is_binary),
                })
                .collect(),
            None => (0..self.signature.outputs.len())
                .map(|at| WantedOutput { at, is_binary })
                .collect(),
        };
        request.priority = parameters.priority.unwrap_or(0);
        request.timeout_us = parameters.timeout.unwrap_or(0);
        Ok(request)
    }

    /// Takes an entry of `inputs` for the tensor that it is.
    fn input(&mut self, entry: Entry<'t>) -> Result<(), Error> {
        let missing = |member| Error::Missing { list: "inputs", member };
        let name = entry.name.ok_or_else(|| missing("name"))?;
        let port = self.tensors.claim(&name)?;
        let found = entry.datatype.ok_or_else(|| missing("datatype"))?;
        if found != port.dtype {
            return Err(Error::InputType {
                name: port.name.clone(),
                expected: port.dtype,
                found,
            });
        }
        let shape = entry.shape.ok_or_else(|| missing("shape"))?;
        if !port.shape.admits(&shape) {
            return Err(Error::InputShape {
                name: port.name.clone(),
                expected: port.shape.clone(),
                found: shape,
            });
        }
        let tensor = match (entry.data, entry.binary_bytes) {
            (Elements::Absent, Some(bytes)) => {
                let data = self.claim_bytes(bytes)?;
                binary::decode(&port.name, port.dtype, &shape, data)?
            }
            (Elements::Read(tensor), None) => tensor,
            (Elements::Text(text), None) => elements(&mut Scanner::of(text), &name, port.dtype, &shape)?,
            (Elements::Absent, None) | (_, Some(_)) => {
                return Err(Error::OneForm {
                    name: port.name.clone(),
                });
            }
        };
        self.tensors.put(tensor);
        Ok(())
    }

    fn output(&mut self, entry: Entry<'t>) -> Result<(usize, Option<bool>), Error> {
        let name = entry.name.ok_or(Error::Missing {
            list: "outputs",
            member: "name",
        })?;
        let outputs = &self.signature.outputs;
        let at = outputs.iter().position(|port| port.name.as_str() == name);
        Ok((at.ok_or_else(|| Error::Output(name.into_owned()))?, entry.is_binary))
    }

    /// Takes the next bytes of the binary part.
    fn claim_bytes(&mut self, bytes: u64) -> Result<&'t [u8], Error> {
        self.said_bytes = self.said_bytes.saturating_add(bytes);
        let length = usize::try_from(bytes).map_err(|_| self.binary_length())?;
        let (data, rest) = self.tail.split_at_checked(length).ok_or_else(|| self.binary_length())?;
        self.tail = rest;
        Ok(data)
    }

    fn binary_length(&self) -> Error {
        Error::BinaryLength {
            said_bytes: self.said_bytes,
            found_bytes: self.tail_bytes,
        }
    }

    /// Reads a list of entries, each a map.
    fn entries(
        &mut self,
        list: &'static str,
        mut take: impl FnMut(&mut Self, Entry<'t>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut count = 0;
        self.items(list, |reader| {
            count += 1;
            if count > MOST_ENTRIES {
                return Err(Error::TooMany {
                    list,
                    most: MOST_ENTRIES,
                });
            }
            let entry = reader.entry(list)?;
            take(reader, entry)
        })
    }

    fn entry(&mut self, list: &'static str) -> Result<Entry<'t>, Error> {
        let mut entry = Entry::default();
        self.members(list, |reader, name| {
            match name {
                "name" => entry.name = Some(reader.string("name")?),
                "datatype" => entry.datatype = Some(from_datatype(&reader.string("datatype")?)?),
                "shape" => entry.shape = Some(reader.shape()?),
                "parameters" => {
                    let parameters = reader.parameters()?;
                    entry.binary_bytes = parameters.binary_data_size;
                    entry.is_binary = parameters.binary_data;
                }
                "data" => {
                    entry.data = match (&entry.name, entry.datatype, &entry.shape) {
                        (Some(name), Some(dtype), Some(shape)) => {
                            Elements::Read(elements(&mut reader.scanner, name, dtype, shape)?)
                        }
                        _ => Elements::Text(reader.skipped()?),
                    }
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(entry)
    }

    fn parameters(&mut self) -> Result<Parameters, Error> {
        let mut found = Parameters::default();
        self.members("parameters", |reader, name| {
            match name {
                "binary_data_size" => found.binary_data_size = Some(reader.number("binary_data_size")?),
                "binary_data" => found.binary_data = Some(reader.flag("binary_data")?),
                "binary_data_output" => found.binary_data_output = Some(reader.flag("binary_data_output")?),
                "priority" => found.priority = Some(reader.number("priority")?),
                "timeout" => found.timeout = Some(reader.number("timeout")?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn shape(&mut self) -> Result<Vec<usize>, Error> {
        let mut shape = Vec::new();
        self.items("shape", |reader| {
            if shape.len() == MAX_RANK {
                return Err(Error::TooMany {
                    list: "shape",
                    most: MAX_RANK,
                });
            }
            let size = reader.number("shape")?;
            shape.push(usize::try_from(size).unwrap_or(usize::MAX));
            Ok(())
        })?;
        Ok(shape)
    }

    fn string(&mut self, member: &'static str) -> Result<Cow<'t, str>, Error> {
        match self.value()? {
            Token::String(text) => Ok(text),
            _ => Err(Error::Form {
                member,
                expected: "a string",
            }),
        }
    }

    fn number(&mut self, member: &'static str) -> Result<u64, Error> {
        match self.value()? {
            Token::Whole(number) if number >= 0 => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
            _ => Err(Error::Form {
                member,
                expected: "a whole number that is not negative",
            }),
        }
    }

    fn flag(&mut self, member: &'static str) -> Result<bool, Error> {
        match self.value()? {
            Token::Bool(value) => Ok(value),
            _ => Err(Error::Form {
                member,
                expected: "true or false",
            }),
        }
    }

    fn value(&mut self) -> Result<Token<'t>, Error> {
        self.scanner.value().map_err(Error::Syntax)
    }

    /// Walks the members of a map, whose opening comes next.
    fn members(
        &mut self,
        member: &'static str,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Token::Map = self.value()? else {
            return Err(Error::Form {
                member,
                expected: "an object",
            });
        };
        if self.scanner.has(b'}') {
            return Ok(());
        }
        loop {
            let name = self.scanner.name().map_err(Error::Syntax)?;
            each(self, &name)?;
            if !self.scanner.has(b',') {
                let end = self.scanner.take(b'}', Expected::CommaOrEndOfMap);
                return end.map_err(Error::Syntax);
            }
        }
    }

    /// Walks the items of a list, whose opening comes next.
    fn items(
        &mut self,
        member: &'static str,
        mut each: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Token::List = self.value()? else {
            return Err(Error::Form {
                member,
                expected: "a list",
            });
        };
        if self.scanner.has(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.scanner.has(b',') {
                let end = self.scanner.take(b']', Expected::CommaOrEndOfList);
                return end.map_err(Error::Syntax);
            }
        }
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.skipped().map(|_| ())
    }

    /// Passes over a value and gives its text.
    fn skipped(&mut self) -> Result<&'t str, Error> {
        let start = self.scanner.place();
        skip(&mut self.scanner, 0)?;
        Ok(self.scanner.since(start))
    }
}

fn skip(scanner: &mut Scanner<'_>, depth: usize) -> Result<(), Error> {
    if depth > MOST_DEPTH {
        return Err(Error::Depth(MOST_DEPTH));
    }
    let is_map = match scanner.value().map_err(Error::Syntax)? {
        Token::List => false,
        Token::Map => true,
        _ => return Ok(()),
    };
    let (end, expected) = match is_map {
        true => (b'}', Expected::CommaOrEndOfMap),
        false => (b']', Expected::CommaOrEndOfList),
    };
    if scanner.has(end) {
        return Ok(());
    }
    loop {
        if is_map {
            scanner.name().map_err(Error::Syntax)?;
        }
        skip(scanner, depth + 1)?;
        if !scanner.has(b',') {
            return scanner.take(end, expected).map_err(Error::Syntax);
        }
    }
}

/// Reads elements, flat or nested as their shape, which must be all that the shape needs.
fn elements(scanner: &mut Scanner<'_>, name: &str, dtype: DType, shape: &[usize]) -> Result<Tensor, Error> {
    let name = crate::tensor::TensorName::new(name);
    if matches!(dtype, DType::F16 | DType::BF16) {
        return Err(Error::BinaryOnly { name, dtype });
    }
    let Some(count) = crate::tensor::value::count(shape) else {
        return Err(Error::Tensor {
            name,
            source: crate::tensor::TensorError::Overflow(shape.to_vec()),
        });
    };
    let is_flat = shape.len() < 2 || !scanner.opens_nested();
    let dims: Vec<usize> = if is_flat { vec![count] } else { shape.to_vec() };
    let port = Port {
        name,
        dtype,
        shape: Shape::of(dims.iter().map(|&size| Dim::Fixed(size as u64))),
    };
    let tensor = json::read(scanner, &port)?;
    if !is_flat {
        return Ok(tensor);
    }
    let (_, data) = tensor.into_parts();
    Tensor::new(shape, data).map_err(|source| Error::Tensor {
        name: port.name,
        source,
    })
}

impl From<SyntaxError> for Error {
    fn from(error: SyntaxError) -> Self {
        Error::Syntax(error)
    }
}
