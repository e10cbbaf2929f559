use std::fmt;

use super::scan::SyntaxError;
use crate::tensor::cast::At;
use crate::tensor::{CastError, DType, IndexPath, MAX_RANK, NameError, Port, TensorError, TensorName};

/// Says why JSON is not the tensor, or not the map of tensors, that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not JSON.
    #[error("cannot read the JSON of {}", Place(name, path))]
    Syntax {
        name: TensorName,
        path: IndexPath,
        #[source]
        source: SyntaxError,
    },
    /// The text of a map is not JSON.
    #[error("cannot read the JSON of the map of inputs")]
    MapSyntax(#[source] SyntaxError),
    /// A value is not one that the port's type holds.
    #[error("{} is not as declared", Place(name, path))]
    Value {
        name: TensorName,
        path: IndexPath,
        #[source]
        source: Box<CastError>,
    },
    /// Lists are not nested as the port's shape says.
    #[error("{}, declared as {}{}, {fault}", Place(&port.name, path), port.dtype, port.shape)]
    Shape {
        port: Box<Port>,
        path: IndexPath,
        fault: ShapeFault,
    },
    /// The port's type is one that tensors do not hold.
    #[error("`{name}` is declared as {dtype}, which JSON is not read into")]
    NotHeld { name: TensorName, dtype: DType },
    /// The port's shape makes no tensor, whatever the elements.
    #[error("`{name}` makes no tensor")]
    Tensor {
        name: TensorName,
        #[source]
        source: TensorError,
    },
    /// The whole is no map.
    #[error("expected a map from the names of the inputs to their values, found {0}")]
    NotAMap(Found),
    /// The names of a map are not those of the inputs.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Says how lists are not nested as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShapeFault {
    /// A dimension is fixed, and a list has another length.
    Length { axis: usize, expected: u64, found: usize },
    /// A list has another length than those before it in the same dimension.
    Ragged { axis: usize, expected: usize, found: usize },
    /// A list stands where an element should.
    TooDeep { rank: usize },
    /// An element stands where a list should.
    TooShallow { rank: usize, found: Found },
    /// Lists are nested deeper than any tensor is.
    Nesting,
    /// Nothing is a list that could hold it, and the size of a dimension remains unknown.
    Open { axis: usize },
    /// Something stands where an element should that is never one.
    NoElement(Found),
}

impl fmt::Display for ShapeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeFault::Length { axis, expected, found } => {
                write!(f, "is a list of {found}, and dimension {axis} is {expected}")
            }
            ShapeFault::Ragged { axis, expected, found } => write!(
                f,
                "is a list of {found}, and the lists before it in dimension {axis} have {expected}"
            ),
            ShapeFault::TooDeep { rank } => write!(f, "is a list, and elements lie {} deep", Levels(*rank)),
            ShapeFault::TooShallow { rank, found } => write!(f, "is {found}, and elements lie {} deep", Levels(*rank)),
            ShapeFault::Nesting => write!(f, "is nested deeper than the {MAX_RANK} dimensions a tensor may have"),
            ShapeFault::Open { axis } => write!(f, "has no elements, and nothing tells how large dimension {axis} is"),
            ShapeFault::NoElement(found) => write!(f, "is {found}, which is never an element"),
        }
    }
}

struct Levels(usize);

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "list" } else { "lists" })
    }
}

/// Names what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Null,
    Bool,
    Number,
    String,
    List,
    Object,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Null => "null",
            Found::Bool => "a bool",
            Found::Number => "a number",
            Found::String => "a string",
            Found::List => "a list",
            Found::Object => "an object",
        })
    }
}

/// Writes `` `x` `` or `` `x` at [0][2] ``.
struct Place<'a>(&'a TensorName, &'a IndexPath);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`{}", self.0, At(self.1))
    }
}
