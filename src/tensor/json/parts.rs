//! Large lists, read in parts on all cores.
//!
//! A text of numbers is cut behind commas. What stands in a part can be read without what stands before it, but for where in the
//! tensor that is: each part keeps account of its lists, and one pass over these accounts finds the shape.

use super::build::{Builder, Sink};
use super::cores;
use super::error::Found;
use super::scan::Scanner;
use super::text::fill;
use crate::tensor::cast::{Cast, CastError};
use crate::tensor::{MAX_RANK, Port, Tensor};

/// So few bytes are read sooner than another core is woken.
const FEW_BYTES: usize = 1 << 16;

/// Reads a list that comes next, where that is worth more than one core.
///
/// `None` says nothing of the text, of which nothing was read then: it is small, or has a fault that reading it from its beginning
/// tells.
pub(super) fn read<T: Cast + Send>(scanner: &mut Scanner<'_>, port: &Port) -> Option<Tensor> {
    if cores::parts_of(scanner.left_bytes(), FEW_BYTES) == 1 {
        return None;
    }
    scanner.whole_list(|text| match cores::parts_of(text.len(), FEW_BYTES) {
        1 => None,
        count => read_parts::<T>(text, count, port),
    })
}

/// Reads a text that begins and ends a list.
fn read_parts<T: Cast + Send>(text: &str, count: usize, port: &Port) -> Option<Tensor> {
    text.strip_prefix('[')?.strip_suffix(']')?;
    let texts = cut(text, count);
    let parts = cores::each(texts.len(), |at| Part::read(texts[at]));
    let parts: Vec<Part<T>> = parts.into_iter().collect::<Option<_>>()?;
    let mut builder = Builder::new(port, 0);
    let mut has_begun = false;
    let mut elements = Vec::with_capacity(parts.iter().map(|part| part.elements.len()).sum());
    for part in parts {
        let mut rest = part.elements.len();
        for lists in &part.lists {
            rest -= lists.before as usize;
            builder.count(lists.before as usize).ok()?;
            for _ in 0..lists.closed {
                builder.is_open().then(|| builder.close().ok())??;
            }
            for _ in 0..lists.opened {
                // Behind the end of the list nothing comes.
                (builder.is_open() || !has_begun).then(|| builder.open().ok())??;
                has_begun = true;
            }
        }
        builder.count(rest).ok()?;
        elements.extend(part.elements);
    }
    match builder.is_open() {
        true => None,
        false => builder.finish_with(elements).ok(),
    }
}

/// Cuts a text behind commas.
fn cut(text: &str, count: usize) -> Vec<&str> {
    let each = text.len() / count;
    let mut texts = Vec::with_capacity(count);
    let mut rest = text;
    while texts.len() + 1 < count
        && let Some(comma) = memchr::memchr(b',', rest.as_bytes().get(each..).unwrap_or_default())
    {
        let (part, behind) = rest.split_at(each + comma + 1);
        texts.push(part);
        rest = behind;
    }
    texts.push(rest);
    texts
}

/// Is lists that end and begin between two elements, or two other lists.
#[derive(Default)]
struct Lists {
    /// How many elements stand before, since the last.
    before: u32,
    closed: u32,
    opened: u32,
}

/// Is what stands in a part of a text.
struct Part<T> {
    elements: Vec<T>,
    lists: Vec<Lists>,
    /// How many elements stand before the last of the lists.
    counted: usize,
    most_lists: usize,
}

/// Says that a part is left to who reads from the beginning.
struct Left;

/// Counts one more list that begins or ends, of which a tensor cannot have any number in one place.
fn one_more(lists: &mut u32) -> Result<(), Left> {
    *lists += 1;
    match *lists as usize > MAX_RANK {
        true => Err(Left),
        false => Ok(()),
    }
}

impl<T: Cast> Part<T> {
    fn read(text: &str) -> Option<Self> {
        /// Where many lists take less, the account of them would take more memory than the text.
        const BYTES_PER_LIST: usize = 8;
        const FEW_LISTS: usize = 16;
        /// About how many bytes an element takes.
        const BYTES_PER_ELEMENT: usize = 12;
        let mut part = Part {
            elements: Vec::with_capacity(text.len() / BYTES_PER_ELEMENT),
            lists: Vec::new(),
            counted: 0,
            most_lists: text.len() / BYTES_PER_LIST + FEW_LISTS,
        };
        fill(&mut Scanner::of(text), &mut part).ok()?;
        Some(part)
    }

    /// Gives the lists that stand behind the last element.
    fn last(&mut self) -> Result<&mut Lists, Left> {
        let before = self.elements.len() - self.counted;
        if before > 0 || self.lists.is_empty() {
            self.add(before)?;
        }
        self.lists.last_mut().ok_or(Left)
    }

    fn add(&mut self, before: usize) -> Result<(), Left> {
        if self.lists.len() == self.most_lists {
            return Err(Left);
        }
        self.counted += before;
        self.lists.push(Lists {
            before: before.try_into().map_err(|_| Left)?,
            ..Lists::default()
        });
        Ok(())
    }
}

impl<T: Cast> Sink<T> for Part<T> {
    type Stop = Left;

    fn row(&mut self, fill: impl FnOnce(&mut Vec<T>)) {
        fill(&mut self.elements);
    }

    fn push(&mut self, _: Found, element: Result<T, CastError>) -> Result<(), Left> {
        self.elements.push(element.map_err(|_| Left)?);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Left> {
        one_more(&mut self.last()?.opened)
    }

    fn close(&mut self) -> Result<(), Left> {
        if self.last()?.opened > 0 {
            self.add(0)?;
        }
        one_more(&mut self.last()?.closed)
    }

    fn refuse(&self, _: Found) -> Left {
        Left
    }

    /// A part ends where its text does, in whatever list that is.
    fn goes_on(&self, scanner: &Scanner<'_>) -> bool {
        !scanner.is_at_end()
    }

    fn is_cut(&self, scanner: &Scanner<'_>) -> bool {
        scanner.is_at_end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::any_tensor;
    use crate::tensor::json::append;
    use crate::tensor::{DType, Dim, Shape, TensorName, for_data};

    fn port(dtype: DType, shape: Shape) -> Port {
        Port {
            name: TensorName::new("x"),
            dtype,
            shape,
        }
    }

    fn unknown(rank: usize) -> Shape {
        Shape::of(vec![Dim::Unknown; rank])
    }

    #[test]
    fn lists_are_read_in_parts_as_they_are_from_the_beginning() {
        for (text, shape) in [
            ("[[1.5,2],[3,-4.25]]", vec![2, 2]),
            ("[ [ 1 , 2 ] ,\n [ 3 , 4 ] ]", vec![2, 2]),
            ("[[[1],[2]],[[3],[4]]]", vec![2, 2, 1]),
            ("[\"NaN\",1e3,\"Infinity\",0.12345678901234567890123]", vec![4]),
        ] {
            let port = port(DType::F64, unknown(shape.len()));
            for count in 2..8 {
                let tensor = read_parts::<f64>(text, count, &port).unwrap_or_else(|| panic!("{text} in {count}"));
                assert_eq!(tensor.shape(), shape, "{text} in {count}");
                let whole = crate::tensor::json::decode_text(text.as_bytes(), &port).unwrap();
                let bytes = |tensor: &Tensor| format!("{:?}", tensor.data());
                assert_eq!(bytes(&tensor), bytes(&whole), "{text} in {count}");
            }
        }
    }

    #[test]
    fn what_has_a_fault_is_left() {
        for text in [
            "[[1,2],[3]]",
            "[[1,2],3]",
            "[1,[2,3]]",
            "[1,,2]",
            "[1,2,]",
            "[,1,2]",
            "[[1,2],]",
            "[1,2",
            "[1,2]]",
            "[1],[2]",
            "[],[]",
            "[[]],[[]]",
            "[],1",
            "[1,2]3,4",
            "]1,2[",
            "[1,true,{}]",
            "[1,\"a,b\",2]",
            "[[],[1,2]]",
            "[1 2,3]",
            "[01,2]",
            "[1,null]",
        ] {
            for count in 2..6 {
                for shape in [unknown(1), unknown(2), Shape(None)] {
                    assert!(
                        read_parts::<f32>(text, count, &port(DType::F32, shape)).is_none(),
                        "{text} in {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_comma_in_a_string_is_not_taken_for_one_between_elements() {
        let port = port(DType::String, unknown(1));
        let text = r#"["a,b","c\",\",d","],[","e"]"#;
        let whole = crate::tensor::json::decode_text(text.as_bytes(), &port).unwrap();
        for count in 2..20 {
            if let Some(tensor) = read_parts::<String>(text, count, &port) {
                assert_eq!(tensor, whole, "{count}");
            }
        }
    }

    #[test]
    fn the_account_of_lists_takes_no_more_than_the_text() {
        let text = format!("[{}[]]", "[],".repeat(1000));
        assert!(read_parts::<f32>(&text, 4, &port(DType::F32, unknown(2))).is_none());
    }

    proptest! {
        #[test]
        fn every_tensor_is_read_in_parts_or_left(tensor in any_tensor(), count in 2usize..9) {
            let mut text = Vec::new();
            append(&tensor, &mut text);
            let text = std::str::from_utf8(&text).unwrap();
            let port = port(tensor.dtype(), unknown(tensor.shape().len()));
            let whole = crate::tensor::json::decode_text(text.as_bytes(), &port);
            let parts = for_data!(tensor.data(), elements => {
                fn of<T: Cast + Send>(_: &[T], text: &str, count: usize, port: &Port) -> Option<Tensor> {
                    read_parts::<T>(text, count, port)
                }
                of(elements, text, count, &port)
            });
            if let Some(parts) = parts {
                prop_assert_eq!(format!("{parts:?}"), format!("{:?}", whole.unwrap()));
            }
        }

        #[test]
        fn no_text_is_read_that_is_none(text in r#"[\[\],0-9.e" \n-]{0,40}"#, count in 2usize..6) {
            for shape in [unknown(1), unknown(2), Shape(None)] {
                let port = port(DType::F64, shape);
                if let Some(parts) = read_parts::<f64>(&text, count, &port) {
                    let whole = crate::tensor::json::decode_text(text.as_bytes(), &port);
                    prop_assert_eq!(Some(parts), whole.ok());
                }
            }
        }
    }
}
