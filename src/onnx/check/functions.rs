use std::collections::HashMap;

use crate::onnx::proto::{FunctionProto, GraphProto, NodeProto};
use crate::onnx::summary::domain_name;
use crate::onnx::{Error, Label};

/// How many nodes a model may have once every function call is replaced by the function's body.
pub const EXPANDED_NODES_MAX: u64 = 1_000_000;

/// How deep functions may call functions.
pub const CALL_DEPTH_MAX: u32 = 64;

/// Finds the functions of a model by what calls them.
pub struct Index<'m> {
    functions: &'m [FunctionProto],
    by_name: HashMap<(&'m str, &'m str, &'m str), usize>,
}

impl<'m> Index<'m> {
    /// Indexes the functions.
    ///
    /// Errors: two of one name.
    pub fn new(functions: &'m [FunctionProto]) -> Result<Self, Error> {
        let mut by_name = HashMap::new();
        for (at, function) in functions.iter().enumerate() {
            let name = (domain_name(function.domain()), function.name(), function.overload());
            if by_name.insert(name, at).is_some() {
                return Err(Error::FunctionTwice {
                    function: Label::new(function.name()),
                });
            }
        }
        Ok(Index { functions, by_name })
    }

    /// Finds the function that a node calls.
    pub fn called(&self, node: &NodeProto) -> Option<usize> {
        let name = (domain_name(node.domain()), node.op_type(), node.overload());
        self.by_name.get(&name).copied()
    }
}

/// Is what one body holds: its own nodes and the functions that they call.
#[derive(Default)]
struct Body {
    nodes: u64,
    calls: Vec<usize>,
}

impl Body {
    fn add(&mut self, nodes: &[NodeProto], index: &Index<'_>) {
        for node in nodes {
            self.nodes += 1;
            self.calls.extend(index.called(node));
            for attribute in &node.attribute {
                for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                    self.add(&graph.node, index);
                }
            }
        }
    }
}

/// Is what a function becomes when it is expanded.
#[derive(Clone, Copy)]
struct Expanded {
    nodes: u64,
    depth: u32,
}

#[derive(Clone, Copy)]
enum State {
    New,
    Open,
    Done(Expanded),
}

/// Checks that no function calls itself, by whatever way, and that expanding all calls stays within bounds.
///
/// The time it takes grows with the file and not with the expansion.
pub fn check_expansion(graph: &GraphProto, index: &Index<'_>) -> Result<(), Error> {
    let bodies: Vec<Body> = index
        .functions
        .iter()
        .map(|function| {
            let mut body = Body::default();
            body.add(&function.node, index);
            body
        })
        .collect();
    let mut states = vec![State::New; bodies.len()];
    for start in 0..bodies.len() {
        expand(start, &bodies, &mut states, index)?;
    }
    let mut main = Body::default();
    main.add(&graph.node, index);
    let total = join(&main, &states);
    if total.nodes > EXPANDED_NODES_MAX {
        return Err(Error::Expansion { nodes: total.nodes });
    }
    Ok(())
}

/// Expands one function and all that it calls, depth first with a stack of our own: the file decides how deep.
fn expand(start: usize, bodies: &[Body], states: &mut [State], index: &Index<'_>) -> Result<(), Error> {
    if !matches!(states[start], State::New) {
        return Ok(());
    }
    let label = |at: usize| Label::new(index.functions[at].name());
    states[start] = State::Open;
    let mut stack = vec![(start, 0)];
    while let Some((at, next)) = stack.last_mut() {
        let at = *at;
        if let Some(&called) = bodies[at].calls.get(*next) {
            *next += 1;
            match states[called] {
                State::New => {
                    states[called] = State::Open;
                    stack.push((called, 0));
                }
                State::Open => {
                    return Err(Error::Recursion {
                        function: label(called),
                    });
                }
                State::Done(_) => {}
            }
            continue;
        }
        let expanded = join(&bodies[at], states);
        if expanded.depth > CALL_DEPTH_MAX {
            return Err(Error::CallDepth { function: label(at) });
        }
        states[at] = State::Done(expanded);
        stack.pop();
    }
    Ok(())
}

/// Adds up a body whose calls are all expanded.
fn join(body: &Body, states: &[State]) -> Expanded {
    let mut whole = Expanded {
        nodes: body.nodes,
        depth: 0,
    };
    for &called in &body.calls {
        if let State::Done(part) = states[called] {
            whole.nodes = whole.nodes.saturating_add(part.nodes);
            whole.depth = whole.depth.max(part.depth + 1);
        }
    }
    whole
}
