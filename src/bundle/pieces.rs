use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::fs::{self, File};
use crate::onnx::{Elements, ElementsReader};
use crate::store::Source;

/// Is a part of the content of a layer that is put together.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A part of a file.
    Part {
        path: Arc<Path>,
        offset_bytes: u64,
        size_bytes: u64,
    },
    /// Elements that are brought into the raw form.
    Elements { elements: Elements, size_bytes: u64 },
    /// Bytes in memory.
    Bytes(Bytes),
    /// Zeros up to where the next tensor begins.
    Zeros(u64),
}

impl Piece {
    /// Gives how many bytes the piece has.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Piece::Part { size_bytes, .. } | Piece::Elements { size_bytes, .. } | Piece::Zeros(size_bytes) => {
                *size_bytes
            }
            Piece::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// Gives how many bytes the pieces have together.
pub fn size_of(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::size_bytes).sum()
}

/// Reads pieces one after the other. Files are read and not mapped, so that what is hashed is what is written, whoever
/// writes to the file meanwhile.
#[derive(Debug)]
pub struct PiecesReader<'a> {
    pieces: &'a [Piece],
    current: usize,
    done_bytes: u64,
    file: Option<(Arc<Path>, File)>,
    elements: Option<ElementsReader>,
}

impl<'a> PiecesReader<'a> {
    /// Begins at the first piece.
    pub fn new(pieces: &'a [Piece]) -> Self {
        PiecesReader {
            pieces,
            current: 0,
            done_bytes: 0,
            file: None,
            elements: None,
        }
    }

    /// Reads everything into memory.
    pub fn read_all(mut self) -> Result<Bytes, fs::Error> {
        let mut bytes = vec![0; usize::try_from(size_of(self.pieces)).unwrap_or(usize::MAX)];
        let filled = self.fill(&mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    /// Fills from the current piece alone; 0 means that nothing more comes of it.
    fn fill_from_piece(&mut self, piece: &'a Piece, buffer: &mut [u8]) -> Result<usize, fs::Error> {
        let left_bytes = piece.size_bytes() - self.done_bytes;
        let size = buffer.len().min(usize::try_from(left_bytes).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..size];
        match piece {
            Piece::Part { path, offset_bytes, .. } => {
                if self.file.as_ref().is_none_or(|(open, _)| open != path) {
                    self.file = Some((Arc::clone(path), File::open(path)?));
                }
                if let Some((_, file)) = &self.file {
                    file.read_exact_at(buffer, offset_bytes + self.done_bytes)?;
                }
                Ok(size)
            }
            Piece::Elements { elements, .. } => {
                let reader = self.elements.get_or_insert_with(|| elements.reader());
                Ok(reader.fill(buffer))
            }
            Piece::Bytes(bytes) => {
                let start = usize::try_from(self.done_bytes).unwrap_or(usize::MAX);
                buffer.copy_from_slice(&bytes[start..start + size]);
                Ok(size)
            }
            Piece::Zeros(_) => {
                buffer.fill(0);
                Ok(size)
            }
        }
    }
}

impl Source for PiecesReader<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, fs::Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            let pieces = self.pieces;
            let Some(piece) = pieces.get(self.current) else { break };
            let added = self.fill_from_piece(piece, &mut buffer[filled..])?;
            filled += added;
            self.done_bytes += added as u64;
            if added == 0 || self.done_bytes == piece.size_bytes() {
                (self.current, self.done_bytes, self.elements) = (self.current + 1, 0, None);
            }
        }
        Ok(filled)
    }

    fn rewind(&mut self) -> Result<(), fs::Error> {
        (self.current, self.done_bytes, self.elements) = (0, 0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_and_again_after_a_rewind() {
        let folder = tempfile::tempdir().unwrap();
        let path: Arc<Path> = folder.path().join("file").into();
        std::fs::write(&path, b"0123456789").unwrap();
        let part = |offset_bytes, size_bytes| Piece::Part {
            path: Arc::clone(&path),
            offset_bytes,
            size_bytes,
        };
        let pieces = [
            part(2, 3),
            Piece::Zeros(2),
            Piece::Bytes(Bytes::from_static(b"ab")),
            part(0, 0),
            part(9, 1),
        ];
        assert_eq!(size_of(&pieces), 8);
        let mut reader = PiecesReader::new(&pieces);
        for size in [1, 2, 3, 8] {
            let mut all: Vec<u8> = Vec::new();
            let mut buffer = vec![0; size];
            loop {
                let filled = reader.fill(&mut buffer).unwrap();
                all.extend(&buffer[..filled]);
                if filled < size {
                    break;
                }
            }
            assert_eq!(all, b"234\0\0ab9");
            reader.rewind().unwrap();
        }
        assert!(
            PiecesReader::new(&[part(9, 2)]).read_all().is_err(),
            "a file that is cut"
        );
    }
}
