use std::collections::HashMap;

use crate::tensor::{DType, Dim, TensorName};

use super::error::{Error, PortKind, Problem, printable};
use super::fields::Field;
use super::file::{Labels, PortDeclaration};
use super::keys::PORT_KEYS;
use super::node::Content;
use super::source::{Located, Span};

/// The longest name of a dimension, in bytes.
const SYMBOL_LIMIT: usize = 256;

/// Reads `inputs` or `outputs`: a list with names, or a mapping from name to declaration or type.
pub(super) fn read_ports(field: &Field<'_>, kind: PortKind) -> Result<Vec<PortDeclaration>, Error> {
    let mut ports = Vec::new();
    if let Content::Map(entries) = &field.node.content {
        for (key, node) in entries {
            let name = Located::new(TensorName::new(key.to_string()), key.span);
            ports.push(read_named(name, field.entry(key, node))?);
        }
    } else {
        for item in field.list()? {
            ports.push(read_item(item)?);
        }
    }
    refuse_twice(field, &ports, kind)?;
    Ok(ports)
}

fn refuse_twice(field: &Field<'_>, ports: &[PortDeclaration], kind: PortKind) -> Result<(), Error> {
    let mut seen: HashMap<&TensorName, Span> = HashMap::new();
    for port in ports {
        if let Some(first) = seen.insert(&port.name.value, port.name.span) {
            let problem = Problem::PortTwice {
                kind,
                name: printable(port.name.as_str()),
                first_line: field.source.place(first).line(),
            };
            return Err(Error::at(field.source, port.name.span, problem));
        }
    }
    Ok(())
}

/// Reads an item of the list form.
fn read_item(item: Field<'_>) -> Result<PortDeclaration, Error> {
    let fields = item.fields(PORT_KEYS)?;
    let name = fields.need("name")?;
    let name = name.located(TensorName::new(name.tensor_name()?));
    read_keys(name, &fields)
}

/// Reads the value of the mapping form: a declaration, a type alone, or nothing.
fn read_named(name: Located<TensorName>, field: Field<'_>) -> Result<PortDeclaration, Error> {
    match &field.node.content {
        Content::Null => Ok(undeclared(name)),
        Content::Map(_) => read_keys(name, &field.fields(&PORT_KEYS[1..])?),
        _ => Ok(PortDeclaration {
            dtype: Some(read_type(&field)?),
            ..undeclared(name)
        }),
    }
}

fn undeclared(name: Located<TensorName>) -> PortDeclaration {
    PortDeclaration {
        name,
        dtype: None,
        shape: None,
        description: None,
        labels: None,
        required: None,
        max_length: None,
    }
}

fn read_keys(name: Located<TensorName>, fields: &super::fields::Fields<'_>) -> Result<PortDeclaration, Error> {
    Ok(PortDeclaration {
        name,
        dtype: fields.get("type").map(|f| read_type(&f)).transpose()?,
        shape: fields.get("shape").map(|f| read_shape(&f)).transpose()?,
        description: match fields.get("description") {
            Some(field) => Some(field.prose()?.to_owned()).filter(|text| !text.is_empty()),
            None => None,
        },
        labels: fields.get("labels").map(|f| read_labels(&f)).transpose()?,
        required: fields.get("required").map(|f| f.boolean()).transpose()?,
        max_length: fields.get("max_length").map(|f| f.integer(1, u64::MAX)).transpose()?,
    })
}

/// Reads an element type.
pub(super) fn read_type(field: &Field<'_>) -> Result<Located<DType>, Error> {
    let text = field.text()?;
    match text.parse() {
        Ok(dtype) => Ok(field.located(dtype)),
        Err(_) => Err(field.error(Problem::TensorType { name: printable(text) })),
    }
}

fn read_shape(field: &Field<'_>) -> Result<Located<Vec<Located<Dim>>>, Error> {
    let dims = field
        .list()?
        .iter()
        .map(|item| read_dim(item).map(|dim| item.located(dim)))
        .collect::<Result<_, _>>()?;
    Ok(field.located(dims))
}

fn read_dim(item: &Field<'_>) -> Result<Dim, Error> {
    match &item.node.content {
        Content::Null => Ok(Dim::Unknown),
        Content::Int(-1) => Ok(Dim::Unknown),
        Content::Int(size) if (0..=i128::from(u64::MAX)).contains(size) => Ok(Dim::Fixed(*size as u64)),
        Content::Text(text) if is_symbol(text) => Ok(Dim::Symbol(text.to_string())),
        Content::Text(text) => Err(item.error(Problem::Dimension { text: printable(text) })),
        Content::Bool(_) | Content::Int(_) | Content::Float(_) => Err(item.error(Problem::Dimension {
            text: printable(item.raw()),
        })),
        other => Err(item.error(Problem::Dimension {
            text: other.kind().to_owned(),
        })),
    }
}

/// Tells whether a text names a dimension: it cannot be taken for a number and prints on a line.
pub(super) fn is_symbol(text: &str) -> bool {
    text.len() <= SYMBOL_LIMIT
        && text.chars().any(char::is_alphabetic)
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

fn read_labels(field: &Field<'_>) -> Result<Labels, Error> {
    match &field.node.content {
        Content::List(_) => {
            let labels: Vec<String> = field
                .list()?
                .iter()
                .map(|item| item.text_or_number().map(str::to_owned))
                .collect::<Result<_, _>>()?;
            Ok(Labels::List(field.located(labels)))
        }
        _ => Ok(Labels::File(field.path()?)),
    }
}
