//! Several requests to a model stacked into one, and its answer split into theirs.
//!
//! Pure: it knows a signature and tensors, not sessions. Stacking is along dimension 0, and only where the signature
//! gives reason to believe that a model treats the rows apart. A model may still mix them (a mean over the batch): no
//! signature tells. One that gives another number of rows than it was given is found out by [`Stacking::unstack`].
//!
//! Requests whose sequences differ in length stack too where filling them up is safe: [`Stacking::filling_up`].

use std::collections::HashMap;

use super::sequence::{Sequences, class};
use crate::pipeline::Filling;
use crate::tensor::{AxisError, DType, Dim, Port, RowsError, Signature, Tensor, TensorName};

/// Is the proof that requests to a model may be stacked.
#[derive(Clone, Debug)]
pub struct Stacking {
    inputs: Vec<TensorName>,
    outputs: Vec<TensorName>,
    sequences: Option<Sequences>,
}

/// Says which part of a stack is whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The rows of each request.
    pub rows: Vec<usize>,
    /// The length of the sequence of each request, and that which they were filled up to; `None` where none was.
    pub lengths: Option<(Vec<usize>, usize)>,
}

/// Is several requests as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// One tensor an input, whose dimension 0 is the sum of theirs.
    pub inputs: Vec<Tensor>,
    /// What of it is whose.
    pub shares: Shares,
}

/// Is several requests that are about to be one.
#[derive(Debug)]
pub struct Parts<'a> {
    /// For each input the parts that join along dimension 0, one a request.
    pub inputs: Vec<Vec<Part<'a>>>,
    /// What of it is whose.
    pub shares: Shares,
}

/// Is one request's part of an input.
#[derive(Debug)]
pub enum Part<'a> {
    /// As it came.
    Whole(&'a Tensor),
    /// With its sequence filled up.
    Filled(Tensor),
}

impl AsRef<Tensor> for Part<'_> {
    fn as_ref(&self) -> &Tensor {
        match self {
            Part::Whole(tensor) => tensor,
            Part::Filled(tensor) => tensor,
        }
    }
}

/// Says why requests to a model are not stacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstackable {
    /// The model takes or gives nothing.
    #[error("the model has no inputs or no outputs")]
    Empty,
    /// The first dimension of an input or output is not one of any size.
    #[error("dimension 0 of `{}`, declared as {}, is not dynamic", .0.name, .0.shape)]
    Fixed(Box<Port>),
    /// First dimensions go by several names, so they are not one size.
    #[error("dimension 0 is `{first}` of one input or output and `{other}` of another")]
    Symbols { first: TensorName, other: TensorName },
    /// The name of the first dimension is also that of another.
    #[error("the size of dimension 0 is also that of dimension {axis} of `{name}`")]
    Tied { name: TensorName, axis: usize },
}

/// Says why a stack of requests, or an answer to one, is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A request or an answer has another number of tensors than the signature.
    #[error("{found} tensors came where {expected} were expected")]
    Count { expected: usize, found: usize },
    /// The inputs of one request differ in their first dimension, so it has no number of rows.
    #[error("the inputs of request {request} have different sizes of dimension 0")]
    Rows { request: usize },
    /// An input of one request does not stack with that of another.
    #[error("input `{name}` does not stack")]
    Input {
        name: TensorName,
        #[source]
        source: RowsError,
    },
    /// The sequence of a request cannot be filled up.
    #[error("the sequence of input `{name}` is not filled up")]
    FillUp {
        name: TensorName,
        #[source]
        source: AxisError,
    },
    /// An output is not as long as the sequences that went in.
    #[error("the sequence of output `{name}` is not cut")]
    Cut {
        name: TensorName,
        #[source]
        source: AxisError,
    },
    /// An output does not have a row for each row that went in.
    #[error("output `{name}` does not split into the answers")]
    Output {
        name: TensorName,
        #[source]
        source: RowsError,
    },
}

/// Is what the requests of one stack have in common: for each input its type and its dimensions but the first, of a length
/// that may be filled up its class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Vec<(DType, Vec<usize>)>);

/// Is a request as [`plan`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it must share with those it is stacked with; `None` where it stacks with none.
    pub key: Option<Key>,
    /// How many rows it has.
    pub rows: usize,
}

impl Stacking {
    /// Looks whether requests to a model of this signature may be stacked.
    ///
    /// They may where dimension 0 of every input and output is dynamic, where the names it goes by are one, and where no
    /// other dimension has that name.
    /// Errors: [`Unstackable`] with the first reason against it.
    pub fn of(signature: &Signature) -> Result<Self, Unstackable> {
        let Signature { inputs, outputs } = signature;
        if inputs.is_empty() || outputs.is_empty() {
            return Err(Unstackable::Empty);
        }
        let mut symbol: Option<&str> = None;
        for port in inputs.iter().chain(outputs) {
            match port.shape.dims().and_then(<[Dim]>::first) {
                Some(Dim::Unknown) => {}
                Some(Dim::Symbol(name)) => match symbol {
                    Some(first) if first != name => {
                        return Err(Unstackable::Symbols {
                            first: TensorName::new(first),
                            other: TensorName::new(name),
                        });
                    }
                    _ => symbol = Some(name),
                },
                Some(Dim::Fixed(_)) | None => return Err(Unstackable::Fixed(Box::new(port.clone()))),
            }
        }
        for port in inputs.iter().chain(outputs) {
            let inner = port.shape.dims().unwrap_or_default().iter().enumerate().skip(1);
            for (axis, dim) in inner {
                if matches!(dim, Dim::Symbol(name) if Some(name.as_str()) == symbol) {
                    let name = port.name.clone();
                    return Err(Unstackable::Tied { name, axis });
                }
            }
        }
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect();
        Ok(Stacking {
            inputs: names(inputs),
            outputs: names(outputs),
            sequences: None,
        })
    }

    /// Lets requests whose sequences differ in length stack, where the signature says of every input and output what becomes
    /// of it then.
    ///
    /// `signature` is that of [`Stacking::of`].
    pub fn filling_up(self, filling: Option<&Filling>, signature: &Signature) -> Self {
        Stacking {
            sequences: filling.and_then(|filling| Sequences::of(filling, signature)),
            ..self
        }
    }

    /// Tells whether requests whose sequences differ in length stack.
    pub fn fills_up(&self) -> bool {
        self.sequences.is_some()
    }

    /// Looks at the inputs of one request, in the signature's order.
    pub fn candidate(&self, request: &[Tensor]) -> Candidate {
        let rows = self.rows(0, request).ok();
        let length = self.length(request);
        let key = rows.map(|_| {
            let inner = |(at, tensor): (usize, &Tensor)| {
                let mut dims: Vec<usize> = tensor.shape().iter().skip(1).copied().collect();
                if let (Some(length), Some(sequences)) = (length, &self.sequences)
                    && sequences.fill(at).is_some()
                {
                    // The length is that of the first dimension after the rows.
                    dims[0] = class(length);
                }
                (tensor.dtype(), dims)
            };
            Key(request.iter().enumerate().map(inner).collect())
        });
        Candidate {
            key,
            rows: rows.unwrap_or(1),
        }
    }

    /// Stacks the inputs of several requests, each in the signature's order.
    ///
    /// Errors: requests that have different [`Key`]s, or none.
    pub fn stack(&self, requests: &[&[Tensor]]) -> Result<Stack, Error> {
        let Parts { inputs, shares } = self.parts(requests)?;
        let inputs = self.inputs.iter().zip(inputs).map(|(name, parts)| {
            let parts: Vec<&Tensor> = parts.iter().map(AsRef::as_ref).collect();
            Tensor::join_rows(&parts).map_err(|source| Error::Input {
                name: name.clone(),
                source,
            })
        });
        Ok(Stack {
            inputs: inputs.collect::<Result<_, _>>()?,
            shares,
        })
    }

    /// Prepares the inputs of several requests for being joined, each in the signature's order.
    ///
    /// Errors: as of [`Stacking::stack`].
    pub fn parts<'a>(&self, requests: &[&'a [Tensor]]) -> Result<Parts<'a>, Error> {
        let rows = requests
            .iter()
            .enumerate()
            .map(|(at, request)| self.rows(at, request))
            .collect::<Result<Vec<_>, _>>()?;
        let lengths = requests.iter().map(|request| self.length(request)).collect();
        let lengths = self.lengths(lengths);
        let inputs = self.inputs.iter().enumerate().map(|(at, name)| {
            let fill = self.sequences.as_ref().and_then(|sequences| sequences.fill(at));
            let parts = requests.iter().map(|request| match (fill, &lengths) {
                (Some(fill), Some((_, longest))) => request[at].fill_up(1, *longest, fill).map(Part::Filled),
                _ => Ok(Part::Whole(&request[at])),
            });
            let parts: Vec<Part<'a>> = parts.collect::<Result<_, _>>().map_err(|source| {
                let name = name.clone();
                Error::FillUp { name, source }
            })?;
            let all: Vec<&Tensor> = parts.iter().map(AsRef::as_ref).collect();
            match Tensor::joined_shape(&all) {
                Ok(_) => Ok(parts),
                Err(source) => Err(Error::Input {
                    name: name.clone(),
                    source,
                }),
            }
        });
        Ok(Parts {
            inputs: inputs.collect::<Result<_, _>>()?,
            shares: Shares { rows, lengths },
        })
    }

    /// Gives the shares of requests that were stacked elsewhere, by their rows and the lengths of their sequences.
    pub fn shares(&self, rows: Vec<usize>, lengths: Vec<Option<usize>>) -> Shares {
        Shares {
            rows,
            lengths: self.lengths(lengths),
        }
    }

    /// Splits the outputs of a stack into those of each request.
    ///
    /// Shape: for each of the shares one tensor an output, in the signature's order, as long as the request's own sequence.
    /// Errors: an output with another number of rows than went in, or another length: the model does not treat them apart, and
    /// the requests are to be run one by one.
    pub fn unstack(&self, outputs: Vec<Tensor>, shares: &Shares) -> Result<Vec<Vec<Tensor>>, Error> {
        if outputs.len() != self.outputs.len() {
            return Err(Error::Count {
                expected: self.outputs.len(),
                found: outputs.len(),
            });
        }
        let mut answers: Vec<Vec<Tensor>> = shares.rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for (at, (name, output)) in self.outputs.iter().zip(outputs).enumerate() {
            let parts = output.split_rows(&shares.rows).map_err(|source| Error::Output {
                name: name.clone(),
                source,
            })?;
            for (request, (answer, part)) in answers.iter_mut().zip(parts).enumerate() {
                answer.push(match (&self.sequences, &shares.lengths) {
                    (Some(sequences), Some((lengths, longest))) => sequences
                        .cut(at, part, (lengths[request], *longest))
                        .map_err(|source| {
                            let name = name.clone();
                            Error::Cut { name, source }
                        })?,
                    _ => part,
                });
            }
        }
        Ok(answers)
    }

    /// Gives the length of a request's sequence, which all its inputs that have one share; `None` where they do not.
    fn length(&self, request: &[Tensor]) -> Option<usize> {
        self.sequences.as_ref()?.length(request)
    }

    /// Gives the longest, where all have one and they are not the same.
    fn lengths(&self, lengths: Vec<Option<usize>>) -> Option<(Vec<usize>, usize)> {
        self.sequences.as_ref()?;
        let lengths: Vec<usize> = lengths.into_iter().collect::<Option<_>>()?;
        let longest = lengths.iter().copied().max()?;
        lengths
            .iter()
            .any(|&length| length != longest)
            .then_some((lengths, longest))
    }

    /// Counts the rows of a request, which all its inputs must have.
    fn rows(&self, at: usize, request: &[Tensor]) -> Result<usize, Error> {
        if request.len() != self.inputs.len() {
            return Err(Error::Count {
                expected: self.inputs.len(),
                found: request.len(),
            });
        }
        let mut rows = request.iter().map(|tensor| tensor.shape().first().copied());
        match rows.next().flatten() {
            Some(first) if rows.all(|other| other == Some(first)) => Ok(first),
            _ => Err(Error::Rows { request: at }),
        }
    }
}

/// Divides requests into stacks of at most `most_rows` rows, by their places in `candidates`.
///
/// Requests of one stack have one [`Key`], and keep their order; stacks come in the order of their first requests. A
/// request without a key, or of more rows than `most_rows`, is alone.
pub fn plan(candidates: &[Candidate], most_rows: usize) -> Vec<Vec<usize>> {
    let mut stacks: Vec<Vec<usize>> = Vec::new();
    // For each key the stack that is being filled, and its rows.
    let mut filling: HashMap<&Key, (usize, usize)> = HashMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let Some(key) = &candidate.key else {
            stacks.push(vec![at]);
            continue;
        };
        match filling.get_mut(key) {
            Some((stack, rows)) if rows.saturating_add(candidate.rows) <= most_rows => {
                stacks[*stack].push(at);
                *rows += candidate.rows;
            }
            _ => {
                filling.insert(key, (stacks.len(), candidate.rows));
                stacks.push(vec![at]);
            }
        }
    }
    stacks
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::Shape;
    use crate::tensor::arbitrary::{held_dtype, same, small_shape, tensor_of};

    fn port(name: &str, dims: &[Dim]) -> Port {
        Port {
            name: TensorName::new(name),
            dtype: DType::F32,
            shape: Shape::of(dims.iter().cloned()),
        }
    }

    fn symbol(name: &str) -> Dim {
        Dim::Symbol(name.to_owned())
    }

    fn stacking(inputs: &[&[Dim]], outputs: &[&[Dim]]) -> Result<Stacking, Unstackable> {
        let ports = |all: &[&[Dim]]| all.iter().map(|dims| port("x", dims)).collect();
        Stacking::of(&Signature {
            inputs: ports(inputs),
            outputs: ports(outputs),
        })
    }

    fn simple(inputs: usize, outputs: usize) -> Stacking {
        let dims: &[Dim] = &[Dim::Unknown];
        stacking(&vec![dims; inputs], &vec![dims; outputs]).unwrap()
    }

    fn shares(rows: &[usize]) -> Shares {
        Shares {
            rows: rows.to_vec(),
            lengths: None,
        }
    }

    fn rows_of(shape: &[usize]) -> Tensor {
        Tensor::from_vec(shape, vec![0f32; shape.iter().product()]).unwrap()
    }

    #[test]
    fn requests_stack_where_dimension_0_is_one_dynamic_size() {
        let n = || symbol("N");
        assert!(stacking(&[&[n(), Dim::Fixed(3)], &[n()]], &[&[n()], &[Dim::Unknown]]).is_ok());
        let refused = |inputs: &[&[Dim]], outputs: &[&[Dim]]| stacking(inputs, outputs).unwrap_err().to_string();
        assert_eq!(
            refused(&[&[n()], &[Dim::Fixed(1), n()]], &[&[n()]]),
            "dimension 0 of `x`, declared as [1, N], is not dynamic"
        );
        assert_eq!(
            refused(&[&[n()]], &[&[symbol("M")]]),
            "dimension 0 is `N` of one input or output and `M` of another"
        );
        assert_eq!(
            refused(&[&[n(), n()]], &[&[n()]]),
            "the size of dimension 0 is also that of dimension 1 of `x`"
        );
        assert_eq!(
            refused(&[&[n()]], &[&[]]),
            "dimension 0 of `x`, declared as [], is not dynamic"
        );
        assert_eq!(refused(&[], &[&[n()]]), "the model has no inputs or no outputs");
        let open_rank = Port {
            shape: Shape(None),
            ..port("x", &[])
        };
        let signature = Signature {
            inputs: vec![open_rank],
            outputs: vec![port("y", &[n()])],
        };
        assert!(matches!(Stacking::of(&signature), Err(Unstackable::Fixed(_))));
    }

    #[test]
    fn only_requests_of_one_type_and_inner_shape_share_a_key() {
        let stacking = simple(2, 1);
        let candidate = |first: &[usize], second: &[usize]| stacking.candidate(&[rows_of(first), rows_of(second)]);
        let one = candidate(&[1, 3], &[1]);
        assert_eq!(one.rows, 1);
        assert!(one.key.is_some());
        assert_eq!(one.key, candidate(&[5, 3], &[5]).key);
        assert_ne!(one.key, candidate(&[1, 4], &[1]).key);
        assert_eq!(candidate(&[1, 3], &[2]).key, None);
        assert_eq!(candidate(&[1, 3], &[]).key, None);
        assert_eq!(stacking.candidate(&[rows_of(&[1])]).key, None);
        let integers = Tensor::from_vec([1], vec![0i64]).unwrap();
        assert_ne!(one.key, stacking.candidate(&[rows_of(&[1, 3]), integers]).key);
    }

    #[test]
    fn a_plan_fills_stacks_and_keeps_what_does_not_stack_alone() {
        let stacking = simple(1, 1);
        let candidates =
            [[1, 3], [1, 4], [2, 3], [9, 3], [1, 3], [1, 4]].map(|shape| stacking.candidate(&[rows_of(&shape)]));
        assert_eq!(plan(&candidates, 3), [vec![0, 2], vec![1, 5], vec![3], vec![4]]);
        assert_eq!(plan(&candidates, 1).len(), 6);
        assert_eq!(plan(&candidates, 0).len(), 6);
        let alone = Candidate { key: None, rows: 1 };
        assert_eq!(plan(&[alone.clone(), alone], 8), [[0], [1]]);
        assert!(plan(&[], 8).is_empty());
    }

    #[test]
    fn an_output_without_a_row_for_each_that_went_in_is_refused() {
        let stacking = simple(1, 1);
        assert_eq!(
            stacking.unstack(vec![rows_of(&[2, 2])], &shares(&[1, 2])),
            Err(Error::Output {
                name: TensorName::new("x"),
                source: RowsError::Count { found: 2, wanted: 3 }
            })
        );
        assert_eq!(
            stacking.unstack(vec![], &shares(&[1])),
            Err(Error::Count { expected: 1, found: 0 })
        );
        let (one, two) = ([rows_of(&[1, 2])], [rows_of(&[1, 3])]);
        assert!(matches!(stacking.stack(&[&one, &two]), Err(Error::Input { .. })));
        assert_eq!(
            stacking.stack(&[&one, &[rows_of(&[])]]),
            Err(Error::Rows { request: 1 })
        );
    }

    /// Makes requests of `inputs` tensors each that stack.
    fn requests() -> impl Strategy<Value = Vec<Vec<Tensor>>> {
        let forms = vec((held_dtype(), small_shape()), 1..4);
        (forms, vec(0..4usize, 1..5)).prop_flat_map(|(forms, rows)| {
            rows.into_iter()
                .map(|rows| {
                    forms
                        .iter()
                        .map(|(dtype, inner)| tensor_of(*dtype, [&[rows], &inner[..]].concat()))
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        })
    }

    proptest! {
        #[test]
        fn what_is_stacked_comes_apart_again(requests in requests()) {
            let stacking = simple(requests[0].len(), requests[0].len());
            let key = stacking.candidate(&requests[0]).key;
            prop_assert!(key.is_some());
            prop_assert!(requests.iter().all(|request| stacking.candidate(request).key == key));
            let parts: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
            let whole = stacking.stack(&parts).unwrap();
            let again = stacking.unstack(whole.inputs, &whole.shares).unwrap();
            prop_assert_eq!(again.len(), requests.len());
            for (again, request) in again.iter().zip(&requests) {
                prop_assert_eq!(again.len(), request.len());
                prop_assert!(again.iter().zip(request).all(|(again, tensor)| same(again, tensor)));
            }
        }

        #[test]
        fn a_plan_has_every_request_once_and_no_stack_too_large(
            shapes in vec((0..4usize, 0..3usize), 0..20),
            most_rows in 1..8usize,
        ) {
            let stacking = simple(1, 1);
            let candidates: Vec<Candidate> =
                shapes.iter().map(|&(rows, inner)| stacking.candidate(&[rows_of(&[rows, inner])])).collect();
            let stacks = plan(&candidates, most_rows);
            let mut seen: Vec<usize> = stacks.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..shapes.len()).collect::<Vec<_>>());
            for stack in stacks {
                let rows: usize = stack.iter().map(|&at| candidates[at].rows).sum();
                prop_assert!(stack.len() == 1 || rows <= most_rows);
                prop_assert!(stack.iter().all(|&at| candidates[at].key == candidates[stack[0]].key));
            }
        }
    }
}
