//! Sequences of different length in one call, where what fills them up is masked.

use crate::pipeline::Filling;
use crate::tensor::{AxisError, Dim, End, Port, Signature, Tensor};

/// Says where the sequence lies in each input and output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequences {
    /// What fills up each input along dimension 1; `None` for those without the sequence.
    fills: Vec<Option<i64>>,
    /// The dimensions of each output that are as long as the sequence.
    cuts: Vec<Vec<usize>>,
    /// Where it is filled up.
    end: End,
}

impl Sequences {
    /// Reads from a signature what becomes of a sequence that is filled up.
    ///
    /// `None` where that cannot be told: an input that is filled up is not of rows and one sequence, of the name that all have;
    /// the name is also a size of an input that is not; an output has a size that goes by another name, or by none, and so may
    /// depend on the sequence.
    pub fn of(filling: &Filling, signature: &Signature) -> Option<Sequences> {
        let mut symbol: Option<&str> = None;
        let mut fills = Vec::with_capacity(signature.inputs.len());
        for (at, port) in signature.inputs.iter().enumerate() {
            let fill = filling.values.iter().find(|(input, _)| *input == at);
            fills.push(fill.map(|&(_, value)| value));
            if fill.is_some() {
                let [_, Dim::Symbol(name)] = port.shape.dims()? else {
                    return None;
                };
                if symbol.is_some_and(|symbol| symbol != name) {
                    return None;
                }
                symbol = Some(name);
            }
        }
        let symbol = symbol?;
        let others = signature.inputs.iter().zip(&fills).filter(|(_, fill)| fill.is_none());
        let mut others = others.flat_map(|(port, _)| inner(port));
        if others.any(|dim| matches!(dim, Dim::Symbol(name) if name == symbol)) {
            return None;
        }
        let mut cuts = Vec::with_capacity(signature.outputs.len());
        for port in &signature.outputs {
            let mut axes = Vec::new();
            for (at, dim) in port.shape.dims()?.iter().enumerate().skip(1) {
                match dim {
                    Dim::Fixed(_) => {}
                    Dim::Symbol(name) if name == symbol => axes.push(at),
                    Dim::Symbol(_) | Dim::Unknown => return None,
                }
            }
            cuts.push(axes);
        }
        Some(Sequences {
            fills,
            cuts,
            end: filling.end,
        })
    }

    /// Gives where and with what an input is filled up; `None` where it is not.
    pub fn fill(&self, input: usize) -> Option<(End, i64)> {
        let value = self.fills.get(input).copied().flatten();
        value.map(|value| (self.end, value))
    }

    /// Gives the length of a request's sequence, which all its inputs that have one share; `None` where they do not.
    pub fn length(&self, request: &[Tensor]) -> Option<usize> {
        let with = request.iter().zip(&self.fills).filter(|(_, fill)| fill.is_some());
        let mut lengths = with.map(|(tensor, _)| match tensor.shape() {
            [_, length] => Some(*length),
            _ => None,
        });
        let first = lengths.next()??;
        // A sequence of nothing has nothing that a mask could leave.
        (first > 0 && lengths.all(|length| length == Some(first))).then_some(first)
    }

    /// Cuts an output back to a request's own length.
    ///
    /// Errors: it is not as long as what went in.
    pub fn cut(&self, output: usize, tensor: Tensor, (length, longest): (usize, usize)) -> Result<Tensor, AxisError> {
        let axes = self.cuts.get(output).map(Vec::as_slice).unwrap_or_default();
        axes.iter().try_fold(tensor, |tensor, &axis| {
            if tensor.shape().get(axis) != Some(&longest) {
                return Err(AxisError::Size {
                    axis,
                    shape: tensor.shape().to_vec(),
                    size: longest,
                });
            }
            tensor.cut(axis, length, self.end)
        })
    }
}

/// Gives the dimensions of a port but its rows.
fn inner(port: &Port) -> impl Iterator<Item = &Dim> {
    port.shape.dims().unwrap_or_default().iter().skip(1)
}

/// Gives the class of a length: sequences of one class are filled up to one length.
///
/// It is the longest length of the class. What fills up is at most a quarter of a sequence of more than 32, and less than
/// eight places of a shorter one.
pub(super) fn class(length: usize) -> usize {
    let octave = length.max(1).next_power_of_two() / 2;
    length.next_multiple_of((octave / 4).max(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Shape, TensorName};

    fn port(name: &str, dims: &[&str]) -> Port {
        let dim = |text: &&str| match text.parse() {
            Ok(size) => Dim::Fixed(size),
            Err(_) if *text == "?" => Dim::Unknown,
            Err(_) => Dim::Symbol((*text).to_owned()),
        };
        Port {
            name: TensorName::new(name),
            dtype: DType::I64,
            shape: Shape::of(dims.iter().map(dim)),
        }
    }

    fn sequences(inputs: &[&[&str]], outputs: &[&[&str]]) -> Option<Sequences> {
        let ports = |all: &[&[&str]]| all.iter().map(|dims| port("x", dims)).collect();
        let signature = Signature {
            inputs: ports(inputs),
            outputs: ports(outputs),
        };
        let filling = Filling {
            values: vec![(0, 1), (1, 0)],
            end: End::Back,
        };
        Sequences::of(&filling, &signature)
    }

    #[test]
    fn a_sequence_is_filled_up_where_the_signature_says_what_becomes_of_it() {
        let two: &[&[&str]] = &[&["N", "T"], &["N", "T"]];
        let found = sequences(two, &[&["N", "T", "384"], &["N", "2"], &["N", "4", "T", "T"]]).unwrap();
        assert_eq!(found.cuts, [vec![1], vec![], vec![2, 3]]);
        assert_eq!(found.fill(0), Some((End::Back, 1)));
        assert!(sequences(&[&["N", "T"], &["N", "T"], &["N", "8"]], &[&["N"]]).is_some());
        for (inputs, outputs) in [
            (two, &[&["N", "M"][..]][..]),
            (two, &[&["N", "?"]]),
            (&[&["N", "T"], &["N", "S"]], &[&["N"]]),
            (&[&["N", "T"], &["N", "16"]], &[&["N"]]),
            (&[&["N", "T"], &["N", "T", "3"]], &[&["N"]]),
            (&[&["N", "T"], &["N", "T"], &["N", "T"]], &[&["N"]]),
        ] {
            assert_eq!(sequences(inputs, outputs), None, "{inputs:?} {outputs:?}");
        }
    }

    #[test]
    fn what_fills_up_is_bounded() {
        for length in 1..5000 {
            let class = class(length);
            let more = class - length;
            assert!(more < 8 || more * 4 <= length, "{length} is filled up to {class}");
            assert_eq!(super::class(class), class, "{length}");
        }
        assert_eq!(
            [1, 8, 9, 33, 40, 41, 129, 160, 161].map(class),
            [8, 8, 16, 40, 40, 48, 160, 160, 192]
        );
    }
}
