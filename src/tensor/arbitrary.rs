//! Tensors for property tests: every type that is held, small shapes with zeros among them, all bit patterns.

use half::{bf16, f16};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{DType, Data, Dim, Element, Port, Shape, Tensor, TensorName, for_dtype};

/// Makes any element of a type.
pub(crate) trait AnyElement: Element + Clone + std::fmt::Debug + 'static {
    fn any() -> BoxedStrategy<Self>;
}

macro_rules! any_element {
    ($($rust:ty, $strategy:expr;)*) => { $(
        impl AnyElement for $rust {
            fn any() -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )* };
}

any_element! {
    f16, any::<u16>().prop_map(f16::from_bits);
    bf16, any::<u16>().prop_map(bf16::from_bits);
    f32, any::<u32>().prop_map(f32::from_bits);
    f64, any::<u64>().prop_map(f64::from_bits);
    i8, any::<i8>(); i16, any::<i16>(); i32, any::<i32>(); i64, any::<i64>();
    u8, any::<u8>(); u16, any::<u16>(); u32, any::<u32>(); u64, any::<u64>();
    bool, any::<bool>();
    String, vec(any::<char>(), 0..6).prop_map(|text| text.into_iter().collect::<String>());
}

/// Picks a type that tensors hold.
pub(crate) fn held_dtype() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::all().filter(|dtype| dtype.is_held()).collect::<Vec<_>>())
}

/// Picks a shape of a few elements.
pub(crate) fn small_shape() -> impl Strategy<Value = Vec<usize>> {
    vec(0..4usize, 0..4)
}

/// Makes a tensor of the given type and shape.
pub(crate) fn tensor_of(dtype: DType, shape: Vec<usize>) -> BoxedStrategy<Tensor> {
    let count = shape.iter().product::<usize>();
    for_dtype!(dtype, T => vec(<T as AnyElement>::any(), count)
        .prop_map(move |elements| Tensor::from_vec(shape.clone(), elements).unwrap())
        .boxed(), else unreachable!("{dtype} is not held"))
}

/// Makes a small tensor of any held type.
pub(crate) fn any_tensor() -> impl Strategy<Value = Tensor> {
    (held_dtype(), small_shape()).prop_flat_map(|(dtype, shape)| tensor_of(dtype, shape))
}

/// Gives the port that declares exactly the type and shape of a tensor.
pub(crate) fn exact_port(tensor: &Tensor) -> Port {
    Port {
        name: TensorName::new("x"),
        dtype: tensor.dtype(),
        shape: Shape::of(tensor.shape().iter().map(|&size| Dim::Fixed(size as u64))),
    }
}

/// Tells whether two tensors are the same element by element, with every NaN like every other.
pub(crate) fn same(left: &Tensor, right: &Tensor) -> bool {
    fn alike<T: PartialEq>(left: &[T], right: &[T]) -> bool {
        // An element that is not itself is NaN.
        #[allow(clippy::eq_op)]
        left.iter().zip(right).all(|(a, b)| a == b || (a != a && b != b))
    }
    if left.shape() != right.shape() {
        return false;
    }
    match (left.data(), right.data()) {
        (Data::F16(a), Data::F16(b)) => alike(a, b),
        (Data::BF16(a), Data::BF16(b)) => alike(a, b),
        (Data::F32(a), Data::F32(b)) => alike(a, b),
        (Data::F64(a), Data::F64(b)) => alike(a, b),
        (left, right) => left == right,
    }
}
