//! Named tensors as NumPy's `.npz` files: zip archives of `.npy` files.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::names::{all, claim};
use super::{NameError, Port, Tensor, TensorName, npy};

/// Is what entries may unpack to beyond the size of the archive itself: enough for any input, too little for a bomb.
const EXPANSION_LIMIT_BYTES: u64 = 1 << 30;

/// Stands after the name of every array.
const SUFFIX: &str = ".npy";

/// Says why bytes are not the `.npz` file that was wanted, or why tensors make none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no zip archive.
    #[error("this is not an .npz file")]
    Archive(#[source] zip::result::ZipError),
    /// An entry is not an array.
    #[error("the .npz file has `{0}`, which is not an .npy file")]
    NotAnArray(TensorName),
    /// Entries share a name, so that which one is meant depends on the reader.
    #[error("the .npz file has several entries of one name")]
    Duplicate,
    /// There is no array of that name.
    #[error("the .npz file has no array `{0}`")]
    Missing(TensorName),
    /// An entry cannot be unpacked.
    #[error("cannot unpack `{name}`")]
    Unpack {
        name: TensorName,
        #[source]
        source: zip::result::ZipError,
    },
    /// The entries unpack to far more than the archive.
    #[error("the .npz file unpacks to more than {limit_bytes} bytes, and has {found_bytes} itself")]
    Expansion { limit_bytes: u64, found_bytes: u64 },
    /// An entry is not an array that can be read.
    #[error("cannot read `{name}`")]
    Array {
        name: TensorName,
        #[source]
        source: Box<npy::Error>,
    },
    /// The names are not those of the inputs.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A tensor cannot be written.
    #[error("cannot write `{name}`")]
    Encode {
        name: TensorName,
        #[source]
        source: npy::EncodeError,
    },
    /// An entry cannot be packed.
    #[error("cannot pack `{name}`")]
    Pack {
        name: TensorName,
        #[source]
        source: zip::result::ZipError,
    },
}

/// Is an open `.npz` file, whose arrays are read one at a time.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    names: Vec<String>,
    file_bytes: u64,
    limit_bytes: u64,
    unpacked_bytes: u64,
}

impl<'a> Archive<'a> {
    /// Opens the archive and reads its directory.
    ///
    /// Errors: no zip archive, an entry that is not named `….npy`, two entries of one name.
    pub fn open(file: &'a [u8]) -> Result<Self, Error> {
        Archive::open_within(file, EXPANSION_LIMIT_BYTES)
    }

    fn open_within(file: &'a [u8], expansion_limit_bytes: u64) -> Result<Self, Error> {
        let zip = ZipArchive::new(Cursor::new(file)).map_err(Error::Archive)?;
        if zip.has_duplicate_names() {
            return Err(Error::Duplicate);
        }
        let names: Result<Vec<String>, Error> = zip
            .file_names()
            .map(|name| {
                let name = name.map_err(Error::Archive)?;
                match name.strip_suffix(SUFFIX) {
                    Some(stem) => Ok(stem.to_owned()),
                    None => Err(Error::NotAnArray(TensorName::new(name))),
                }
            })
            .collect();
        Ok(Archive {
            names: names?,
            zip,
            file_bytes: file.len() as u64,
            limit_bytes: expansion_limit_bytes.saturating_add(file.len() as u64),
            unpacked_bytes: 0,
        })
    }

    /// Gives the names of the arrays, in the archive's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Reads an array with the type that the file has, as [`npy::decode`] does.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor, Error> {
        let array = self.unpack(name)?;
        npy::decode(&array).map_err(|source| unreadable(name, source))
    }

    /// Reads an array for a port, as [`npy::decode_for`] does.
    pub fn tensor_for(&mut self, name: &str, port: &Port) -> Result<Tensor, Error> {
        let array = self.unpack(name)?;
        npy::decode_for(&array, port).map_err(|source| unreadable(name, source))
    }

    fn unpack(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let Some(at) = self.names.iter().position(|other| other == name) else {
            return Err(Error::Missing(TensorName::new(name)));
        };
        let fail = |source| Error::Unpack {
            name: TensorName::new(name),
            source,
        };
        let left = self.limit_bytes - self.unpacked_bytes;
        let entry = self.zip.by_index(at).map_err(fail)?;
        // The directory says how large an entry is, and may lie: what counts is what comes out.
        let mut array = Vec::with_capacity(usize::try_from(entry.size().min(self.file_bytes)).unwrap_or(0));
        let unpacked = entry
            .take(left + 1)
            .read_to_end(&mut array)
            .map_err(|error| fail(error.into()))? as u64;
        if unpacked > left {
            return Err(Error::Expansion {
                limit_bytes: self.limit_bytes,
                found_bytes: self.file_bytes,
            });
        }
        self.unpacked_bytes += unpacked;
        Ok(array)
    }
}

fn unreadable(name: &str, source: npy::Error) -> Error {
    Error::Array {
        name: TensorName::new(name),
        source: Box::new(source),
    }
}

/// Reads every array of an `.npz` file, in the archive's order, with the types that the file has.
///
/// Errors: as [`Archive::open`] and [`Archive::tensor`].
pub fn decode(file: &[u8]) -> Result<Vec<(TensorName, Tensor)>, Error> {
    let mut archive = Archive::open(file)?;
    let names = archive.names.clone();
    names
        .into_iter()
        .map(|name| Ok((TensorName::new(&name), archive.tensor(&name)?)))
        .collect()
}

/// Reads the arrays of an `.npz` file as a whole map of inputs.
///
/// Shape: one tensor a port, in the order of `ports`, whatever the order of the archive.
/// Errors: a name that is unknown or missing; and as [`Archive::open`] and [`Archive::tensor_for`].
pub fn decode_map(file: &[u8], ports: &[Port]) -> Result<Vec<Tensor>, Error> {
    let mut archive = Archive::open(file)?;
    let names = archive.names.clone();
    let mut tensors = vec![None; ports.len()];
    for name in &names {
        let at = claim(ports, &tensors, name)?;
        tensors[at] = Some(archive.tensor_for(name, &ports[at])?);
    }
    Ok(all(ports, tensors)?)
}

/// Writes tensors as an `.npz` file, uncompressed as `numpy.savez` does; the same tensors give the same bytes.
///
/// Errors: a tensor that [`npy::encode`] refuses, a name given twice or too long for a zip archive.
pub fn encode<'t>(tensors: impl IntoIterator<Item = (&'t TensorName, &'t Tensor)>) -> Result<Vec<u8>, Error> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let array = npy::encode(tensor).map_err(|source| Error::Encode {
            name: name.clone(),
            source,
        })?;
        let fail = |source| Error::Pack {
            name: name.clone(),
            source,
        };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(u32::try_from(array.len()).is_err());
        zip.start_file(format!("{}{SUFFIX}", name.as_str()), options)
            .map_err(fail)?;
        zip.write_all(&array).map_err(|error| fail(error.into()))?;
    }
    let file = zip.finish().map_err(Error::Archive)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::{any_tensor, same};
    use crate::tensor::{DType, Dim, Shape};

    fn port(name: &str, dtype: DType) -> Port {
        Port {
            name: TensorName::new(name),
            dtype,
            shape: Shape::of([Dim::Unknown]),
        }
    }

    /// Packs entries, whatever they are.
    fn archive(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, data) in entries {
            let options = SimpleFileOptions::default().compression_method(method);
            zip.start_file(*name, options).unwrap();
            zip.write_all(data).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn vector(elements: &[f32]) -> Tensor {
        Tensor::from_vec([elements.len()], elements.to_vec()).unwrap()
    }

    /// Gives the header of a vector of bytes of that length.
    fn header(length: usize) -> Vec<u8> {
        let empty = npy::encode(&Tensor::from_vec([0], Vec::<u8>::new()).unwrap()).unwrap();
        let text = String::from_utf8_lossy(&empty[10..]).replace("(0,)", &format!("({length},)"));
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        [&empty[..8], &length, text.as_bytes()].concat()
    }

    #[test]
    fn stored_and_deflated_entries_are_read() {
        let array = npy::encode(&vector(&[1.0, 2.0])).unwrap();
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let file = archive(method, &[("b.npy", &array), ("a/../x.npy", &array)]);
            let tensors = decode(&file).unwrap();
            assert_eq!(tensors[0], (TensorName::new("b"), vector(&[1.0, 2.0])));
            assert_eq!(tensors[1].0, TensorName::new("a/../x"));
        }
    }

    #[test]
    fn the_same_tensors_give_the_same_bytes() {
        let (name, tensor) = (TensorName::new("x"), vector(&[0.5]));
        let file = encode([(&name, &tensor)]).unwrap();
        assert_eq!(file, encode([(&name, &tensor)]).unwrap());
        // The date of the entry, in MS-DOS form: 1980-01-01 00:00.
        assert_eq!(file[10..14], [0, 0, 0x21, 0]);
    }

    #[test]
    fn a_map_is_read_by_the_names_of_the_inputs() {
        let (x, y) = (TensorName::new("x"), TensorName::new("y"));
        let file = encode([(&y, &vector(&[1.0])), (&x, &vector(&[2.0]))]).unwrap();
        let ports = [port("x", DType::F64), port("y", DType::F32)];
        let tensors = decode_map(&file, &ports).unwrap();
        assert_eq!(tensors[0], Tensor::from_vec([1], vec![2f64]).unwrap());
        assert_eq!(tensors[1], vector(&[1.0]));
        assert_eq!(
            decode_map(&file, &ports[..1]).unwrap_err().to_string(),
            "there is no input `y`; the inputs are `x`"
        );
        let more = [ports[0].clone(), ports[1].clone(), port("z", DType::F32)];
        assert_eq!(
            decode_map(&file, &more).unwrap_err().to_string(),
            "no value is given for `z`"
        );
        assert!(matches!(
            decode_map(&file, &[port("x", DType::String), port("y", DType::F32)]),
            Err(Error::Array { .. })
        ));
        assert!(matches!(
            Archive::open(&file).unwrap().tensor("q"),
            Err(Error::Missing(_))
        ));
    }

    #[test]
    fn what_is_no_archive_of_arrays_is_refused() {
        assert!(matches!(decode(b"\x93NUMPY"), Err(Error::Archive(_))));
        let file = archive(CompressionMethod::Stored, &[("readme.txt", b"")]);
        assert_eq!(
            decode(&file).unwrap_err().to_string(),
            "the .npz file has `readme.txt`, which is not an .npy file"
        );
        let file = archive(CompressionMethod::Stored, &[("x.npy", b"hello")]);
        assert!(matches!(decode(&file), Err(Error::Array { .. })));
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let array = npy::encode(&vector(&[1.0])).unwrap();
        let file = archive(CompressionMethod::Stored, &[("x.npy", &array), ("y.npy", &array)]);
        let renamed: Vec<u8> = file
            .iter()
            .map(|&byte| if byte == b'y' { b'x' } else { byte })
            .collect();
        // The letter also stands in `.npy`, in both names alike.
        let renamed = replace(&renamed, b".npx", b".npy");
        assert!(matches!(decode(&renamed), Err(Error::Duplicate)));
    }

    fn replace(bytes: &[u8], from: &[u8; 4], to: &[u8; 4]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() - 3 {
            if bytes[at..at + 4] == from[..] {
                bytes[at..at + 4].copy_from_slice(to);
            }
        }
        bytes
    }

    #[test]
    fn a_damaged_entry_is_refused() {
        let array = npy::encode(&vector(&[1.0, 2.0])).unwrap();
        let mut file = archive(CompressionMethod::Stored, &[("x.npy", &array)]);
        let at = file.windows(4).position(|bytes| bytes == 2f32.to_le_bytes()).unwrap();
        file[at] ^= 1;
        assert!(matches!(decode(&file), Err(Error::Unpack { .. })));
    }

    #[test]
    fn a_bomb_is_refused() {
        let length = 40_000;
        let array = [header(length), vec![0; length]].concat();
        let names = ["a.npy", "b.npy", "c.npy"];
        let file = archive(CompressionMethod::Deflated, &names.map(|name| (name, &array[..])));
        assert!(file.len() < 2_000);
        // Each entry is below the limit, and their sum is over it.
        let mut bomb = Archive::open_within(&file, 100_000).unwrap();
        assert_eq!(bomb.tensor("a").unwrap().shape(), [length]);
        assert!(bomb.tensor("b").is_ok());
        assert_eq!(
            bomb.tensor("c").unwrap_err().to_string(),
            format!(
                "the .npz file unpacks to more than {} bytes, and has {} itself",
                100_000 + file.len(),
                file.len()
            )
        );
        assert_eq!(decode(&file).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn every_map_comes_back(tensors in proptest::collection::vec(any_tensor(), 0..4)) {
            let named: Vec<(TensorName, Tensor)> = tensors
                .into_iter()
                .enumerate()
                .map(|(at, tensor)| (TensorName::new(format!("tensor {at}")), tensor))
                .filter(|(_, tensor)| tensor.dtype() != DType::BF16 && npy::encode(tensor).is_ok())
                .collect();
            let file = encode(named.iter().map(|(name, tensor)| (name, tensor))).unwrap();
            let found = decode(&file).unwrap();
            prop_assert_eq!(found.len(), named.len());
            for ((name, tensor), (found_name, found)) in named.iter().zip(&found) {
                prop_assert_eq!(name, found_name);
                prop_assert!(same(tensor, found));
            }
        }

        #[test]
        fn no_damage_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let names = [TensorName::new("x"), TensorName::new("y")];
            let mut file = encode([(&names[0], &vector(&[1.0])), (&names[1], &vector(&[2.0]))]).unwrap();
            let at = at.index(file.len());
            file[at] = byte;
            let _ = decode(&file);
            let _ = decode(&file[..at]);
        }
    }
}
