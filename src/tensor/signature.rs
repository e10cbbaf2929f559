use std::fmt;

use super::DType;

/// Names a model's input or output, exactly as the graph does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorName(String);

impl TensorName {
    /// Takes the name as the graph has it; ONNX allows any text that is not empty.
    pub fn new(name: impl Into<String>) -> Self {
        TensorName(name.into())
    }

    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TensorName {
    /// Writes the name on one line: control characters come out escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Is one dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A size fixed by the model.
    Fixed(u64),
    /// A named size that is known at run time; equal names are equal sizes.
    Symbol(String),
    /// Any size.
    Unknown,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) => write!(f, "{}", TensorName::new(name.clone())),
            Dim::Unknown => write!(f, "?"),
        }
    }
}

/// Is the declared shape of an input or output; `None` where the model leaves the rank open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub Option<Vec<Dim>>);

impl Shape {
    /// Makes the shape of known rank.
    pub fn of(dims: impl IntoIterator<Item = Dim>) -> Self {
        Shape(Some(dims.into_iter().collect()))
    }

    /// Gives the dimensions; `None` where the rank is open.
    pub fn dims(&self) -> Option<&[Dim]> {
        self.0.as_deref()
    }

    /// Tells whether a tensor of shape `actual` fits: same rank, and the same size wherever one is fixed.
    pub fn admits(&self, actual: &[usize]) -> bool {
        let Some(dims) = &self.0 else { return true };
        dims.len() == actual.len()
            && dims.iter().zip(actual).all(|(dim, &size)| match dim {
                Dim::Fixed(fixed) => *fixed == size as u64,
                Dim::Symbol(_) | Dim::Unknown => true,
            })
    }
}

impl fmt::Display for Shape {
    /// Writes `[N, 3, 224, 224]`, and `[...]` where the rank is open.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dims) = &self.0 else {
            return write!(f, "[...]");
        };
        write!(f, "[")?;
        for (at, dim) in dims.iter().enumerate() {
            write!(f, "{}{dim}", if at == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}

/// Is one input or output: its name, element type and declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name that callers use.
    pub name: TensorName,
    /// The element type.
    pub dtype: DType,
    /// The declared shape.
    pub shape: Shape,
}

/// Is what a model takes and gives, in the model's own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// What a call must bring. Inputs that have a default (an initializer of the same name) are not listed.
    pub inputs: Vec<Port>,
    /// What a call gives back.
    pub outputs: Vec<Port>,
}

impl Signature {
    /// Finds an input by name.
    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name.as_str() == name)
    }

    /// Finds an output by name.
    pub fn output(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_admits_any_size_only_where_it_is_dynamic() {
        let shape = Shape::of([Dim::Symbol("N".into()), Dim::Fixed(3)]);
        assert!(shape.admits(&[7, 3]));
        assert!(!shape.admits(&[7, 4]));
        assert!(!shape.admits(&[3]));
        assert!(Shape(None).admits(&[1, 2, 3]));
        assert_eq!(shape.to_string(), "[N, 3]");
    }

    #[test]
    fn names_print_on_one_line() {
        assert_eq!(TensorName::new("a\nb\x1b[31m").to_string(), "a\\nb\\u{1b}[31m");
    }
}
