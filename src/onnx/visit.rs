//! The one walk over everything in a model: what is named in a subgraph or a function is found as surely as what is
//! named at the top.

use std::fmt;

use super::Label;
use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Is one thing that the walk comes by.
#[derive(Clone, Copy)]
pub enum Item<'m> {
    /// A graph: the main one (no node holds it) or the body of a control-flow node.
    Graph { graph: &'m GraphProto, main: bool },
    /// A function that the model defines.
    Function(&'m FunctionProto),
    /// A node; all after a function are that function's, up to the next.
    Node(&'m NodeProto),
    /// A dense tensor, the parts of sparse ones included.
    Tensor { tensor: &'m TensorProto, place: Place<'m> },
    /// A sparse tensor; its two parts follow.
    Sparse {
        sparse: &'m SparseTensorProto,
        place: Place<'m>,
    },
}

/// Says where a tensor is named, in words.
#[derive(Clone, Copy)]
pub struct Place<'m> {
    holder: Holder<'m>,
    part: Part,
    name: &'m str,
}

#[derive(Clone, Copy)]
enum Holder<'m> {
    Graph,
    Node(&'m AttributeProto, &'m NodeProto),
    Function(&'m AttributeProto, &'m FunctionProto),
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Sparse,
    Values,
    Indices,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Whole | Part::Sparse => "",
            Part::Values => "the values of ",
            Part::Indices => "the indices of ",
        })?;
        match self.holder {
            Holder::Graph => {
                let sparse = if matches!(self.part, Part::Whole) {
                    ""
                } else {
                    "sparse "
                };
                write!(f, "{sparse}initializer `{}`", Label::new(self.name))
            }
            Holder::Node(attribute, node) => {
                write!(
                    f,
                    "attribute `{}` of {}",
                    Label::new(attribute.name()),
                    node_label(node)
                )
            }
            Holder::Function(attribute, function) => write!(
                f,
                "attribute `{}` of function `{}`",
                Label::new(attribute.name()),
                Label::new(function.name())
            ),
        }
    }
}

impl<'m> Place<'m> {
    /// Gives the words, to be kept in an error.
    pub fn label(&self) -> Label {
        Label::phrase(format_args!("{self}"))
    }

    /// Tells whether the tensor is a dense initializer.
    pub fn is_initializer(&self) -> bool {
        matches!((self.holder, self.part), (Holder::Graph, Part::Whole))
    }

    /// Gives the Constant node whose value the tensor is; `None` where it is another thing.
    pub fn constant(&self) -> Option<&'m NodeProto> {
        match (self.holder, self.part) {
            (Holder::Node(attribute, node), Part::Whole)
                if attribute.name() == "value"
                    && node.op_type() == "Constant"
                    && matches!(node.domain(), "" | "ai.onnx") =>
            {
                Some(node)
            }
            _ => None,
        }
    }
}

/// Names a node: by its name, else by what it gives.
pub fn node_label(node: &NodeProto) -> Label {
    let op = Label::new(node.op_type());
    let given = node.output.iter().find(|output| !output.is_empty());
    match (node.name(), given) {
        ("", Some(output)) => Label::phrase(format_args!("{op} node that gives `{}`", Label::new(output))),
        ("", None) => Label::phrase(format_args!("{op} node without a name")),
        (name, _) => Label::phrase(format_args!("{op} node `{}`", Label::new(name))),
    }
}

/// Walks a model: main graph first, then functions; a graph before its tensors, those before its nodes, a node before
/// its attributes.
///
/// Errors: the first that `see` gives ends the walk.
pub fn walk<'m, E>(model: &'m ModelProto, see: &mut dyn FnMut(Item<'m>) -> Result<(), E>) -> Result<(), E> {
    if let Some(graph) = &model.graph {
        walk_graph(graph, true, see)?;
    }
    for function in &model.functions {
        see(Item::Function(function))?;
        for attribute in &function.attribute_proto {
            walk_attribute(attribute, Holder::Function(attribute, function), see)?;
        }
        walk_nodes(&function.node, see)?;
    }
    Ok(())
}

/// Walks everything in the model, where nothing can fail.
pub fn walk_all<'m>(model: &'m ModelProto, mut see: impl FnMut(Item<'m>)) {
    let Ok(()) = walk::<std::convert::Infallible>(model, &mut |item| {
        see(item);
        Ok(())
    });
}

fn walk_graph<'m, E>(
    graph: &'m GraphProto,
    main: bool,
    see: &mut dyn FnMut(Item<'m>) -> Result<(), E>,
) -> Result<(), E> {
    see(Item::Graph { graph, main })?;
    for tensor in &graph.initializer {
        let place = Place {
            holder: Holder::Graph,
            part: Part::Whole,
            name: tensor.name(),
        };
        see(Item::Tensor { tensor, place })?;
    }
    for sparse in &graph.sparse_initializer {
        walk_sparse(sparse, Holder::Graph, see)?;
    }
    walk_nodes(&graph.node, see)
}

fn walk_nodes<'m, E>(nodes: &'m [NodeProto], see: &mut dyn FnMut(Item<'m>) -> Result<(), E>) -> Result<(), E> {
    for node in nodes {
        see(Item::Node(node))?;
        for attribute in &node.attribute {
            walk_attribute(attribute, Holder::Node(attribute, node), see)?;
        }
    }
    Ok(())
}

/// Walks every field of an attribute, whatever type it says it has: an engine may read the field and not the type.
fn walk_attribute<'m, E>(
    attribute: &'m AttributeProto,
    holder: Holder<'m>,
    see: &mut dyn FnMut(Item<'m>) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
        let place = Place {
            holder,
            part: Part::Whole,
            name: tensor.name(),
        };
        see(Item::Tensor { tensor, place })?;
    }
    for sparse in attribute
        .sparse_tensor
        .as_deref()
        .into_iter()
        .chain(&attribute.sparse_tensors)
    {
        walk_sparse(sparse, holder, see)?;
    }
    for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
        walk_graph(graph, false, see)?;
    }
    Ok(())
}

fn walk_sparse<'m, E>(
    sparse: &'m SparseTensorProto,
    holder: Holder<'m>,
    see: &mut dyn FnMut(Item<'m>) -> Result<(), E>,
) -> Result<(), E> {
    let name = sparse.values.as_ref().map_or("", |values| values.name());
    let place = |part| Place { holder, part, name };
    see(Item::Sparse {
        sparse,
        place: place(Part::Sparse),
    })?;
    for (tensor, part) in [(&sparse.values, Part::Values), (&sparse.indices, Part::Indices)] {
        if let Some(tensor) = tensor {
            see(Item::Tensor {
                tensor,
                place: place(part),
            })?;
        }
    }
    Ok(())
}
