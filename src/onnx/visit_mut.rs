//! The walk over every dense tensor of a model for those who change it, in the order of the one for those who look.

use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Shows every dense tensor, the parts of sparse ones included, in the order in which [`walk`](super::visit::walk) does.
pub fn each_tensor(model: &mut ModelProto, see: &mut dyn FnMut(&mut TensorProto)) {
    if let Some(graph) = &mut model.graph {
        in_graph(graph, see);
    }
    for function in &mut model.functions {
        in_attributes(&mut function.attribute_proto, see);
        in_nodes(&mut function.node, see);
    }
}

fn in_graph(graph: &mut GraphProto, see: &mut dyn FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *see);
    graph
        .sparse_initializer
        .iter_mut()
        .for_each(|sparse| in_sparse(sparse, see));
    in_nodes(&mut graph.node, see);
}

fn in_nodes(nodes: &mut [NodeProto], see: &mut dyn FnMut(&mut TensorProto)) {
    for node in nodes {
        in_attributes(&mut node.attribute, see);
    }
}

fn in_attributes(attributes: &mut [AttributeProto], see: &mut dyn FnMut(&mut TensorProto)) {
    for attribute in attributes {
        let tensors = attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors);
        tensors.for_each(&mut *see);
        let sparse = attribute.sparse_tensor.as_deref_mut().into_iter();
        sparse
            .chain(&mut attribute.sparse_tensors)
            .for_each(|sparse| in_sparse(sparse, see));
        let graphs = attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs);
        graphs.for_each(|graph| in_graph(graph, see));
    }
}

fn in_sparse(sparse: &mut SparseTensorProto, see: &mut dyn FnMut(&mut TensorProto)) {
    sparse.values.iter_mut().chain(&mut sparse.indices).for_each(see);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::ModelProto;
    use crate::onnx::sample::*;
    use crate::onnx::visit::{Item, walk_all};

    /// A model with a tensor in every place that can hold one, each with a name of its own.
    fn everywhere() -> ModelProto {
        let tensor = |name: &str| raw(name, 1, &[1], &[0; 4]);
        let sparse = |name: &str| SparseTensorProto {
            values: Some(tensor(&format!("{name} values"))),
            indices: Some(tensor(&format!("{name} indices"))),
            dims: vec![1],
        };
        let full = |name: &str| {
            let body = GraphProto {
                initializer: vec![tensor(&format!("{name} body"))],
                sparse_initializer: vec![sparse(&format!("{name} sparse in body"))],
                node: vec![with(
                    node("Constant", &[], &["k"]),
                    tensor_attribute("value", tensor(&format!("{name} node in body"))),
                )],
                ..Default::default()
            };
            AttributeProto {
                tensors: vec![tensor(&format!("{name} list"))],
                sparse_tensor: Some(Box::new(sparse(&format!("{name} sparse")))),
                sparse_tensors: vec![sparse(&format!("{name} sparse list"))],
                graphs: vec![body.clone()],
                ..graph_attribute("all", body)
            }
        };
        let mut model = running(vec![with(node("Any", &["x"], &["z"]), full("main"))]);
        graph(&mut model).initializer = vec![tensor("first"), tensor("second")];
        graph(&mut model).sparse_initializer = vec![sparse("sparse")];
        model.functions = vec![function("F", vec![with(node("Any", &["x"], &["y"]), full("function"))])];
        model.functions[0].attribute_proto = vec![tensor_attribute("default", tensor("default"))];
        model
    }

    #[test]
    fn both_walks_come_by_the_same_tensors_in_the_same_order() {
        let mut model = everywhere();
        let mut seen = Vec::new();
        walk_all(&model, |item| {
            if let Item::Tensor { tensor, .. } = item {
                seen.push(tensor.name().to_owned());
            }
        });
        let mut changed = Vec::new();
        each_tensor(&mut model, &mut |tensor| changed.push(tensor.name().to_owned()));
        assert_eq!(seen, changed);
        assert!(seen.len() > 30 && seen.contains(&"function node in body".to_owned()));
    }
}
