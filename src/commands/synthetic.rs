use std::collections::BTreeMap;

use half::{bf16, f16};

use crate::tensor::{DType, Data, Dim, Port, Signature, Tensor};

use super::{Code, Failure, OrFail};

/// Chooses the sizes of a model's dynamic dimensions for a benchmark.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// The size of the first dimension of every input, where it is dynamic.
    pub batch: usize,
    /// Sizes by symbol.
    pub symbols: BTreeMap<String, usize>,
}

/// Makes the same pseudo-random inputs each time: floats in [0, 1), integers and booleans 0 or 1, empty strings.
///
/// Errors: a dynamic dimension whose size is not given and is not the batch, a type that no tensor holds.
pub fn inputs(signature: &Signature, sizes: &Sizes) -> Result<Vec<Tensor>, Failure> {
    let mut random = SplitMix(0x5eed);
    signature
        .inputs
        .iter()
        .map(|port| input(port, sizes, &mut random))
        .collect()
}

/// Gives the shape of an input of these sizes.
///
/// Errors: a dynamic dimension whose size is not given and is not the batch.
pub fn shape(port: &Port, sizes: &Sizes) -> Result<Vec<usize>, Failure> {
    let dims = port.shape.dims().ok_or_else(|| unknown_shape(port, None))?;
    let mut shape = Vec::with_capacity(dims.len());
    for (axis, dim) in dims.iter().enumerate() {
        shape.push(match dim {
            Dim::Fixed(size) => usize::try_from(*size).unwrap_or(usize::MAX),
            Dim::Symbol(name) if sizes.symbols.contains_key(name) => sizes.symbols[name],
            _ if axis == 0 => sizes.batch,
            _ => return Err(unknown_shape(port, Some(dim))),
        });
    }
    Ok(shape)
}

fn input(port: &Port, sizes: &Sizes, random: &mut SplitMix) -> Result<Tensor, Failure> {
    let shape = shape(port, sizes)?;
    let count = shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .unwrap_or(usize::MAX);
    let data = elements(port.dtype, count, random).ok_or_else(|| {
        Failure::new(
            Code::Failed,
            format!("gpux makes no values of type {} for input `{}`", port.dtype, port.name),
        )
        .hint("give one with --input")
    })?;
    Tensor::new(shape, data).or_fail(|| format!("cannot make a value for input `{}`", port.name))
}

fn unknown_shape(port: &Port, dim: Option<&Dim>) -> Failure {
    let (name, shape) = (&port.name, &port.shape);
    let failure = Failure::new(
        Code::Usage,
        format!("the shape {shape} of input `{name}` leaves a size open"),
    );
    match dim {
        Some(Dim::Symbol(symbol)) => failure.hint(format!(
            "give it with --dim {symbol}=SIZE, or the whole input with --input"
        )),
        _ => failure.hint(format!("give the input with --input {name}=@FILE.npy")),
    }
}

fn elements(dtype: DType, count: usize, random: &mut SplitMix) -> Option<Data> {
    /// More than any benchmark wants, and less than any machine's memory.
    const MOST: usize = 1 << 32;
    if count > MOST {
        return None;
    }
    macro_rules! fill {
        ($variant:ident, $make:expr) => {
            Data::$variant((0..count).map($make).collect())
        };
    }
    Some(match dtype {
        DType::F32 => fill!(F32, |_| random.unit() as f32),
        DType::F64 => fill!(F64, |_| random.unit()),
        DType::F16 => fill!(F16, |_| f16::from_f64(random.unit())),
        DType::BF16 => fill!(BF16, |_| bf16::from_f64(random.unit())),
        DType::I8 => fill!(I8, |_| random.bit() as i8),
        DType::I16 => fill!(I16, |_| random.bit() as i16),
        DType::I32 => fill!(I32, |_| random.bit() as i32),
        DType::I64 => fill!(I64, |_| random.bit() as i64),
        DType::U8 => fill!(U8, |_| random.bit() as u8),
        DType::U16 => fill!(U16, |_| random.bit() as u16),
        DType::U32 => fill!(U32, |_| random.bit() as u32),
        DType::U64 => fill!(U64, |_| random.bit()),
        DType::Bool => fill!(Bool, |_| random.bit() == 1),
        DType::String => fill!(String, |_| String::new()),
        _ => return None,
    })
}

/// Is the SplitMix64 generator: good enough for inputs, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn bit(&mut self) -> u64 {
        self.next() >> 63
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Shape, TensorName};

    #[test]
    fn inputs_are_the_same_each_time_and_fit_the_signature() {
        let dims = [Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Symbol("T".into())];
        let port = Port {
            name: TensorName::new("x"),
            dtype: DType::F32,
            shape: Shape::of(dims),
        };
        let signature = Signature {
            inputs: vec![port],
            outputs: vec![],
        };
        let sizes = Sizes {
            batch: 2,
            symbols: [("T".to_owned(), 5)].into(),
        };
        let first = inputs(&signature, &sizes).unwrap();
        assert_eq!(first[0].shape(), [2, 3, 5]);
        assert_eq!(first, inputs(&signature, &sizes).unwrap());
        let unnamed = inputs(
            &signature,
            &Sizes {
                batch: 2,
                ..Sizes::default()
            },
        )
        .unwrap_err();
        assert_eq!(
            unnamed.hints(),
            ["give it with --dim T=SIZE, or the whole input with --input"]
        );
    }
}
