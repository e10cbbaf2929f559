//! Decides whether the embedded engine is offered a model.

use std::collections::HashMap;

use super::form::{Form, SPREADING};
use super::infer::{self, Known, is_small};
use super::table::{COMMITTED, Row, Table};
use crate::onnx::Model;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use crate::tensor::{DType, TensorName};

/// Says why the embedded engine is not offered a model.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unsupported {
    /// Nothing of the operator is known to be right.
    #[error("operator {operator} ({node}) is not in the embedded engine's capability table")]
    Operator { operator: TensorName, node: NodeName },
    /// The operator is known to be right, but not as this operator set defines it.
    #[error("operator {operator} ({node}) is of opset {opset}; the embedded engine is right in {proven}")]
    Opset {
        operator: TensorName,
        node: NodeName,
        opset: i64,
        proven: &'static str,
    },
    /// The operator is not known to be right with these types.
    #[error("operator {operator} ({node}) takes {types}, which the embedded engine does not")]
    Types {
        operator: TensorName,
        node: NodeName,
        types: String,
    },
    /// The operator is not known to be right with this attribute, or without it.
    #[error("operator {operator} ({node}) has {attribute} = {value}, which the embedded engine does not do right")]
    Attribute {
        operator: TensorName,
        node: NodeName,
        attribute: TensorName,
        value: String,
    },
    /// The operator is not known to be right in these dimensions.
    #[error("operator {operator} ({node}) takes tensors of rank {ranks}, which the embedded engine does not do right")]
    Ranks {
        operator: TensorName,
        node: NodeName,
        ranks: String,
    },
    /// Each feature is right, and they are wrong together.
    #[error("operator {operator} ({node}) is wrong in the embedded engine where {features}")]
    Together {
        operator: TensorName,
        node: NodeName,
        features: &'static str,
    },
    /// Results could need more than the engine's 32 bits.
    #[error("operator {operator} ({node}) computes with int64 data, and the embedded engine has 32 bits")]
    Arithmetic { operator: TensorName, node: NodeName },
    /// A constant needs more than the engine's 32 bits.
    #[error("constant `{tensor}` has the value {value}, and the embedded engine has 32 bits")]
    Constant { tensor: TensorName, value: i64 },
    /// A node holds a graph.
    #[error("operator {operator} ({node}) holds a graph, which the embedded engine does not run")]
    Subgraph { operator: TensorName, node: NodeName },
    /// A node takes what no node before it gives.
    #[error("operator {operator} ({node}) takes `{tensor}`, which nothing before it gives")]
    Order {
        operator: TensorName,
        node: NodeName,
        tensor: TensorName,
    },
    /// Nothing in the graph gives an output.
    #[error("nothing gives output `{tensor}`")]
    Output { tensor: TensorName },
    /// An input, output or constant is of a type that the engine does not have.
    #[error("`{tensor}` is {kind}, which the embedded engine does not take")]
    Type { tensor: TensorName, kind: String },
    /// The model has a part that the engine does not read.
    #[error("the model has {part}, which the embedded engine does not read")]
    Part { part: &'static str },
}

/// Names a node: by its name, or by its first output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(TensorName);

impl NodeName {
    fn of(node: &NodeProto) -> Self {
        let name = Some(node.name()).filter(|name| !name.is_empty());
        let output = || node.output.iter().map(String::as_str).find(|output| !output.is_empty());
        NodeName(TensorName::new(name.or_else(output).unwrap_or("unnamed")))
    }
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// Tells whether the embedded engine does all of a model right.
///
/// Errors: the first node, type or value that is not known to be right.
pub fn capability(model: &Model) -> Result<(), Unsupported> {
    check(model.proto(), COMMITTED)
}

/// Tells whether a table has all of a model, as [`capability`] does.
pub fn check(model: &ModelProto, table: Table<'static>) -> Result<(), Unsupported> {
    let mut walk = Walk::start(model)?;
    for node in walk.graph.node.iter() {
        if node.op_type() == "Constant" && is_standard(node) {
            walk.constant(node)?;
            continue;
        }
        let inputs = walk.inputs(node)?;
        let form = walk.form(node, &inputs)?;
        let operator = || TensorName::new(form.operator.clone());
        let name = || NodeName::of(node);
        let row = table.row(&form.operator).ok_or_else(|| Unsupported::Operator {
            operator: operator(),
            node: name(),
        })?;
        let outputs = admit(&form, node, row)?;
        let computes = outputs.contains(&Some(DType::I64)) && infer::computes(node.op_type());
        if computes
            && inputs
                .iter()
                .flatten()
                .any(|known| known.dtype == DType::I64 && !known.small)
        {
            return Err(Unsupported::Arithmetic {
                operator: operator(),
                node: name(),
            });
        }
        if let Some(ranks) = lost_rank(node, &inputs) {
            return Err(Unsupported::Ranks {
                operator: operator(),
                node: name(),
                ranks,
            });
        }
        walk.small_constants(node)?;
        let known = outputs
            .into_iter()
            .enumerate()
            .filter_map(|(at, dtype)| Some((at, infer::output(node, at, dtype?, &inputs))));
        let known: Vec<_> = known.collect();
        for (at, known) in known {
            walk.known.insert(&node.output[at], known);
        }
    }
    walk.outputs()
}

/// Gives the form of the only node of a model, as the table would be asked about it, with the types of its outputs.
pub fn only_form(model: &Model) -> Option<Form> {
    let walk = Walk::start(model.proto()).ok()?;
    let [node] = walk.graph.node.as_slice() else {
        return None;
    };
    let inputs = walk.inputs(node).ok()?;
    walk.small_constants(node).ok()?;
    walk.form(node, &inputs).ok()
}

/// Gives the ranks of a node's inputs where rten's optimizer would lose a dimension: it takes a constant of one element
/// for a scalar, and drops `x + 0` and its like though the constant has more dimensions than `x`.
fn lost_rank(node: &NodeProto, inputs: &[Option<&Known>]) -> Option<String> {
    if !is_standard(node) || !matches!(node.op_type(), "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Where") {
        return None;
    }
    let ranks = || inputs.iter().flatten().map(|known| known.rank);
    let one = |known: &&&Known| known.length == Some(1) && known.rank.is_some_and(|rank| rank > 0);
    let most = inputs
        .iter()
        .flatten()
        .filter(one)
        .filter_map(|known| known.rank)
        .max()?;
    let others = ranks().filter(|rank| *rank != Some(most)).collect::<Vec<_>>();
    let lower = ranks().count() > 1
        && others.len() == ranks().count() - 1
        && others.iter().all(|rank| rank.is_none_or(|rank| rank < most));
    lower.then(|| {
        let text = |rank: Option<usize>| rank.map_or_else(|| "?".to_owned(), |rank| rank.to_string());
        ranks().map(text).collect::<Vec<_>>().join(",")
    })
}

fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx")
}

/// Is a walk over a graph in its order, with what is known of the tensors so far.
struct Walk<'m> {
    model: &'m ModelProto,
    graph: &'m GraphProto,
    known: HashMap<&'m str, Known>,
    /// Constants with values that the engine's 32 bits do not hold.
    large: HashMap<&'m str, i64>,
}

impl<'m> Walk<'m> {
    fn start(model: &'m ModelProto) -> Result<Self, Unsupported> {
        let Some(graph) = &model.graph else {
            return Err(Unsupported::Part { part: "no graph" });
        };
        if !model.functions.is_empty() {
            return Err(Unsupported::Part {
                part: "functions of its own",
            });
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(Unsupported::Part {
                part: "sparse constants",
            });
        }
        let mut walk = Walk {
            model,
            graph,
            known: HashMap::new(),
            large: HashMap::new(),
        };
        for tensor in &graph.initializer {
            walk.keep(tensor.name(), tensor)?;
        }
        for input in &graph.input {
            if !walk.known.contains_key(input.name()) {
                walk.known.insert(input.name(), port(input)?);
            }
        }
        for output in &graph.output {
            port(output)?;
        }
        Ok(walk)
    }

    /// Notes a constant.
    fn keep(&mut self, name: &'m str, tensor: &TensorProto) -> Result<(), Unsupported> {
        let dtype = held(DType::from_onnx(tensor.data_type()), name)?;
        if dtype == DType::I64 {
            let large = infer::integers(tensor).and_then(|values| values.into_iter().find(|&value| !is_small(value)));
            self.large.extend(large.map(|value| (name, value)));
        }
        self.known.insert(name, Known::constant(tensor, dtype));
        Ok(())
    }

    /// Notes a Constant node.
    fn constant(&mut self, node: &'m NodeProto) -> Result<(), Unsupported> {
        let name = node.output.first().map_or("", String::as_str);
        let kind = || Unsupported::Type {
            tensor: TensorName::new(name),
            kind: "not a plain constant".to_owned(),
        };
        let [attribute] = node.attribute.as_slice() else {
            return Err(kind());
        };
        let list = |dtype, values: Vec<i64>, rank| Known {
            rank: Some(rank),
            length: Some(values.len()),
            small: values.iter().all(|&value| is_small(value)),
            values: Some(values),
            ..Known::of(dtype)
        };
        let known = match attribute.name() {
            "value" => return self.keep(name, attribute.t.as_deref().ok_or_else(kind)?),
            "value_int" => list(DType::I64, vec![attribute.i()], 0),
            "value_ints" => list(DType::I64, attribute.ints.clone(), 1),
            "value_float" => Known {
                rank: Some(0),
                ..Known::of(DType::F32)
            },
            "value_floats" => Known {
                rank: Some(1),
                ..Known::of(DType::F32)
            },
            _ => return Err(kind()),
        };
        let large = known.values.iter().flatten().find(|&&value| !is_small(value));
        self.large.extend(large.map(|&value| (name, value)));
        self.known.insert(name, known);
        Ok(())
    }

    fn inputs(&self, node: &NodeProto) -> Result<Vec<Option<&Known>>, Unsupported> {
        let find = |name: &String| match name.as_str() {
            "" => Ok(None),
            name => self.known.get(name).map(Some).ok_or_else(|| Unsupported::Order {
                operator: TensorName::new(node.op_type()),
                node: NodeName::of(node),
                tensor: TensorName::new(name),
            }),
        };
        node.input.iter().map(find).collect()
    }

    fn form(&self, node: &NodeProto, inputs: &[Option<&Known>]) -> Result<Form, Unsupported> {
        let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
        let same = |domain: &str| domain == node.domain() || (standard(domain) && is_standard(node));
        let opset = self
            .model
            .opset_import
            .iter()
            .find(|opset| same(opset.domain()))
            .map_or(1, |opset| opset.version());
        Form::of(node, opset, inputs).ok_or_else(|| Unsupported::Subgraph {
            operator: TensorName::new(node.op_type()),
            node: NodeName::of(node),
        })
    }

    /// Checks that each output is given, and of the type that it declares.
    fn outputs(&self) -> Result<(), Unsupported> {
        for output in &self.graph.output {
            let tensor = || TensorName::new(output.name());
            let given = self
                .known
                .get(output.name())
                .ok_or_else(|| Unsupported::Output { tensor: tensor() })?;
            if given.dtype != port(output)?.dtype {
                let kind = format!("{} and declared otherwise", given.dtype);
                return Err(Unsupported::Type { tensor: tensor(), kind });
            }
        }
        Ok(())
    }

    /// Refuses constants beyond 32 bits, but where they bound a slice: there the engine's largest means the same.
    fn small_constants(&self, node: &NodeProto) -> Result<(), Unsupported> {
        for (at, input) in node.input.iter().enumerate() {
            let Some(value) = self.large.get(input.as_str()) else {
                continue;
            };
            if !(node.op_type() == "Slice" && is_standard(node) && matches!(at, 1 | 2)) {
                return Err(Unsupported::Constant {
                    tensor: TensorName::new(input.clone()),
                    value: *value,
                });
            }
        }
        Ok(())
    }
}

/// Gives the type of an element where the engine has it.
fn held(dtype: Option<DType>, name: &str) -> Result<DType, Unsupported> {
    let kind = dtype.map_or("of an undefined type", DType::name);
    dtype
        .filter(|dtype| {
            matches!(
                dtype,
                DType::F32 | DType::I32 | DType::I64 | DType::I8 | DType::U8 | DType::Bool
            )
        })
        .ok_or_else(|| Unsupported::Type {
            tensor: TensorName::new(name),
            kind: kind.to_owned(),
        })
}

/// Knows what an input or output declares.
fn port(info: &ValueInfoProto) -> Result<Known, Unsupported> {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(Unsupported::Type {
            tensor: TensorName::new(info.name()),
            kind: "not a tensor".to_owned(),
        });
    };
    let dtype = held(DType::from_onnx(tensor.elem_type()), info.name())?;
    let rank = tensor.shape.as_ref().map(|shape| shape.dim.len());
    Ok(Known {
        rank,
        small: dtype != DType::I64,
        ..Known::of(dtype)
    })
}

/// Tells whether a row has a form, and gives the types of the node's outputs, `None` for one left out.
fn admit(form: &Form, node: &NodeProto, row: Row<'static>) -> Result<Vec<Option<DType>>, Unsupported> {
    let operator = || TensorName::new(form.operator.clone());
    let name = || NodeName::of(node);
    let Some(opset) = row.opsets(form.opset) else {
        return Err(Unsupported::Opset {
            operator: operator(),
            node: name(),
            opset: form.opset,
            proven: row.values("opset").unwrap_or_default(),
        });
    };
    let Some((types, outputs)) = outputs(form, node, row) else {
        return Err(Unsupported::Types {
            operator: operator(),
            node: name(),
            types: form.value("types").to_owned(),
        });
    };
    // What the row has a line for, then what the node has and the row has no line for.
    let keys = row
        .keys()
        .map(|(key, _)| key)
        .chain(form.features.keys().map(String::as_str));
    for key in keys.filter(|key| !matches!(*key, "opset" | "types")) {
        let value = form.value(key);
        let proven = row
            .values(key)
            .map_or(value == "-", |values| values.split(' ').any(|proven| proven == value));
        if !proven && key == "ranks" {
            return Err(Unsupported::Ranks {
                operator: operator(),
                node: name(),
                ranks: value.to_owned(),
            });
        }
        if !proven {
            let attribute = TensorName::new(key.trim_start_matches('@'));
            return Err(Unsupported::Attribute {
                operator: operator(),
                node: name(),
                attribute,
                value: value.to_owned(),
            });
        }
    }
    let has = |feature: &str| match feature.split_once('=') {
        Some(("opset", range)) => range == opset,
        Some(("types", of)) => of == types,
        Some((key, value)) => form.value(key) == value,
        None => false,
    };
    if let Some(features) = row.exceptions().find(|features| features.split(' ').all(has)) {
        return Err(Unsupported::Together {
            operator: operator(),
            node: name(),
            features,
        });
    }
    Ok(outputs)
}

/// Finds the entry of a row's types that a node fits, and the types of the node's outputs.
fn outputs(form: &Form, node: &NodeProto, row: Row<'static>) -> Option<(&'static str, Vec<Option<DType>>)> {
    let given = form.value("types");
    // An operator that names the type it gives has one entry for each.
    let named = ["@to", "@dtype", "@output_dtype", "@value"]
        .into_iter()
        .map(|key| form.value(key))
        .find(|value| *value != "-");
    for entry in row.values("types")?.split(' ') {
        let Some((inputs, outputs)) = entry.split_once("=>") else {
            continue;
        };
        if inputs != given || named.is_some_and(|named| named.parse::<DType>().is_ok() && outputs != named) {
            continue;
        }
        if let Some(each) = outputs.strip_suffix('*') {
            let dtype = each.parse().ok()?;
            return Some((
                entry,
                node.output
                    .iter()
                    .map(|output| (!output.is_empty()).then_some(dtype))
                    .collect(),
            ));
        }
        let dtypes: Vec<Option<DType>> = outputs.split(',').map(|name| name.parse().ok()).collect();
        let wanted = node
            .output
            .iter()
            .rposition(|output| !output.is_empty())
            .map_or(0, |last| last + 1);
        let fits = wanted == dtypes.len()
            && dtypes
                .iter()
                .zip(&node.output)
                .all(|(dtype, output)| dtype.is_some() != output.is_empty());
        if fits {
            return Some((entry, dtypes));
        }
    }
    None
}

/// Writes the types of a node's outputs as the table does.
pub fn output_types(operator: &str, dtypes: impl Iterator<Item = Option<DType>>) -> String {
    super::form::types(SPREADING.contains(&operator), dtypes)
}
