use super::error::Error;
use crate::tensor::bytes::Order;
use crate::tensor::{DType, MAX_RANK, TensorError};

/// Begins every `.npy` file.
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Is what an array of one type with a shape of [`MAX_RANK`] needs, many times over.
const HEADER_LIMIT_BYTES: usize = 64 << 10;

/// Is what stands before the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) item: Item,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

/// Is the form of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A number or bool.
    Fixed { dtype: DType, order: Order },
    /// Code points of 4 bytes.
    Text { item_bytes: usize, order: Order },
    /// UTF-8.
    Bytes { item_bytes: usize },
    /// Two bytes without a meaning of their own.
    Untyped,
}

impl Item {
    /// Gives the bytes of one element.
    pub(super) fn size_bytes(self) -> usize {
        match self {
            Item::Fixed { dtype, .. } => dtype.bits() / 8,
            Item::Text { item_bytes, .. } | Item::Bytes { item_bytes } => item_bytes,
            Item::Untyped => 2,
        }
    }
}

/// Splits a file into its header and its data.
pub(super) fn split(file: &[u8]) -> Result<(Header, &[u8]), Error> {
    if !file.starts_with(MAGIC) {
        return Err(Error::Magic);
    }
    let start = match file.get(6..8) {
        Some([1, 0]) => 10,
        Some([2 | 3, 0]) => 12,
        Some(&[major, minor]) => return Err(Error::Version { major, minor }),
        _ => return Err(truncated(8, file)),
    };
    let length = match file.get(8..start) {
        Some(&[a, b]) => u16::from_le_bytes([a, b]).into(),
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]) as usize,
        _ => return Err(truncated(start, file)),
    };
    if length > HEADER_LIMIT_BYTES {
        return Err(Error::HeaderLength {
            found_bytes: length as u64,
            limit_bytes: HEADER_LIMIT_BYTES as u64,
        });
    }
    match file[start..].split_at_checked(length) {
        Some((text, data)) => Ok((Parser { text, at: 0 }.header()?, data)),
        None => Err(truncated(start + length, file)),
    }
}

fn truncated(expected: usize, file: &[u8]) -> Error {
    Error::HeaderTruncated {
        expected_bytes: expected as u64,
        found_bytes: file.len() as u64,
    }
}

/// Reads the one form of Python literal that a header is.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn header(&mut self) -> Result<Header, Error> {
        let (mut item, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "`{`")?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            match key {
                b"descr" if item.is_none() => item = Some(self.item()?),
                b"fortran_order" if fortran_order.is_none() => fortran_order = Some(self.bool()?),
                b"shape" if shape.is_none() => shape = Some(self.shape()?),
                _ => {
                    return Err(Error::HeaderKey { key: printable(key) });
                }
            }
            if !self.take(b',') {
                self.expect(b'}', "`,` or `}`")?;
                break;
            }
        }
        self.skip_space();
        if self.at != self.text.len() {
            return Err(self.malformed("nothing but spaces and a newline"));
        }
        Ok(Header {
            item: item.ok_or(Error::HeaderMissing("descr"))?,
            fortran_order: fortran_order.ok_or(Error::HeaderMissing("fortran_order"))?,
            shape: shape.ok_or(Error::HeaderMissing("shape"))?,
        })
    }

    fn item(&mut self) -> Result<Item, Error> {
        self.skip_space();
        if matches!(self.text.get(self.at), Some(b'[' | b'(')) {
            return Err(Error::Structured);
        }
        parse_item(self.string()?)
    }

    fn bool(&mut self) -> Result<bool, Error> {
        self.skip_space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.malformed("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, Error> {
        let mut shape = Vec::new();
        self.expect(b'(', "a tuple")?;
        while !self.take(b')') {
            if shape.len() == MAX_RANK {
                return Err(Error::Shape(TensorError::Rank(MAX_RANK + 1)));
            }
            shape.push(self.size()?);
            if !self.take(b',') {
                self.expect(b')', "`,` or `)`")?;
                break;
            }
        }
        Ok(shape)
    }

    fn size(&mut self) -> Result<usize, Error> {
        self.skip_space();
        let digits = self.text[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let size = std::str::from_utf8(&self.text[self.at..self.at + digits])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.malformed("a size that fits in memory"))?;
        self.at += digits;
        // Python 2 wrote large sizes as long integers.
        self.take(b'L');
        Ok(size)
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        self.skip_space();
        let Some(&quote @ (b'\'' | b'"')) = self.text.get(self.at) else {
            return Err(self.malformed("a string"));
        };
        let rest = &self.text[self.at + 1..];
        match rest.iter().position(|&byte| byte == quote || byte == b'\\') {
            Some(end) if rest[end] == quote => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            _ => Err(self.malformed("a string without escapes")),
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Error> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.malformed(expected))
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn malformed(&self, expected: &'static str) -> Error {
        Error::HeaderSyntax { at: self.at, expected }
    }
}

/// Reads a type such as `<f4`.
fn parse_item(descr: &[u8]) -> Result<Item, Error> {
    let unknown = || Error::Descr(printable(descr));
    let text = std::str::from_utf8(descr).map_err(|_| unknown())?;
    let native = if cfg!(target_endian = "big") {
        Order::Big
    } else {
        Order::Little
    };
    let (order, rest) = match text.as_bytes().first() {
        Some(b'<') => (Order::Little, &text[1..]),
        Some(b'>') => (Order::Big, &text[1..]),
        Some(b'=') => (native, &text[1..]),
        // What has no order is read as if it had ours.
        Some(b'|') => (Order::Little, &text[1..]),
        _ => (native, text),
    };
    let Some((kind, size)) = rest.split_at_checked(1) else {
        return Err(unknown());
    };
    if kind == "O" {
        return Err(Error::Objects);
    }
    let size: usize = size.parse().map_err(|_| unknown())?;
    let dtype = match (kind, size) {
        ("U", characters) => {
            let item_bytes = characters.checked_mul(4).ok_or_else(unknown)?;
            return Ok(Item::Text { item_bytes, order });
        }
        ("S" | "a", item_bytes) => return Ok(Item::Bytes { item_bytes }),
        ("V", 2) if order == Order::Little => return Ok(Item::Untyped),
        ("f", 2) => DType::F16,
        ("f", 4) => DType::F32,
        ("f", 8) => DType::F64,
        ("i", 1) => DType::I8,
        ("i", 2) => DType::I16,
        ("i", 4) => DType::I32,
        ("i", 8) => DType::I64,
        ("u", 1) => DType::U8,
        ("u", 2) => DType::U16,
        ("u", 4) => DType::U32,
        ("u", 8) => DType::U64,
        ("b", 1) => DType::Bool,
        _ => return Err(unknown()),
    };
    Ok(Item::Fixed { dtype, order })
}

/// Takes the beginning of a text from the header into a message.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned()
}
