use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::fs;
use crate::oci::{Descriptor, FilePath, Packing};
use crate::store::Store;

use super::Error;

/// Entries of an archive that are read.
const MOST_ENTRIES: usize = 200_000;
/// A layer may unpack to this, or to this many times its own size, whichever is more.
const UNPACKED_BYTES: u64 = 512 << 20;
const UNPACKED_RATIO: u64 = 20;
/// The largest window of a compressed layer. Shape: a power of two.
const WINDOW_LOG: u32 = 27;
/// How much is read at once.
const COPY_BYTES: usize = 1 << 20;

/// Unpacks a tar layer once into the store's cache, and gives its files: path in the artifact, path on disk.
///
/// Only plain files and folders are taken; links, devices and sparse files are refused, and so is a path that is not safe,
/// an archive of too many entries, and one that is far larger than its layer.
///
/// Errors: [`Error::Unpack`], [`Error::UnpackEntry`].
pub(super) fn unpacked(store: &Store, layer: &Descriptor, packing: Packing) -> Result<Vec<(FilePath, PathBuf)>, Error> {
    let folder = store.unpacked(&layer.digest);
    if fs::stat(&folder)?.is_none() {
        unpack(store, (layer, packing), &folder)?;
    }
    let mut files = Vec::new();
    for path in fs::files_below(&folder)? {
        files.push((path.parse::<FilePath>()?, folder.join(&path)));
    }
    Ok(files)
}

/// Unpacks beside `folder` and renames, so that what has the name is whole.
fn unpack(store: &Store, (layer, packing): (&Descriptor, Packing), folder: &Path) -> Result<(), Error> {
    let temporary = folder.with_extension(format!("{}.tmp", std::process::id()));
    fs::remove_folder(&temporary)?;
    fs::create_folders(&temporary)?;
    let source = BufReader::with_capacity(COPY_BYTES, Blob(store.open_blob(&layer.digest)?));
    let failed = |source| Error::Unpack {
        layer: layer.digest,
        source,
    };
    let done = match packing {
        Packing::Raw | Packing::Tar => read_entries(layer, source, &temporary),
        Packing::TarGzip => read_entries(layer, flate2::bufread::MultiGzDecoder::new(source), &temporary),
        Packing::TarZstd => {
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(failed)?;
            decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
            read_entries(layer, decoder, &temporary)
        }
    };
    let named = done.and_then(|()| match fs::rename(&temporary, folder) {
        // Another process was quicker, with the same files.
        Err(_) if fs::stat(folder)?.is_some() => Ok(fs::remove_folder(&temporary)?),
        named => Ok(named?),
    });
    if named.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_folder(&temporary);
    }
    named
}

/// Gives how much a layer may unpack to: in proportion to its size, and never more than the disk holds.
fn most_bytes(size_bytes: u64, free_bytes: Option<u64>) -> u64 {
    let in_proportion = UNPACKED_BYTES.max(size_bytes.saturating_mul(UNPACKED_RATIO));
    free_bytes.map_or(in_proportion, |free| in_proportion.min(free))
}

fn read_entries(layer: &Descriptor, source: impl Read, folder: &Path) -> Result<(), Error> {
    let free_bytes = fs::free_bytes(folder)?;
    read_at_most(layer, source, folder, most_bytes(layer.size_bytes, free_bytes))
}

fn read_at_most(layer: &Descriptor, source: impl Read, folder: &Path, mut left_bytes: u64) -> Result<(), Error> {
    let failed = |source| Error::Unpack {
        layer: layer.digest,
        source,
    };
    let refused = |path: &str, why| Error::UnpackEntry {
        layer: layer.digest,
        path: path.escape_debug().take(200).collect(),
        why,
    };
    let mut archive = tar::Archive::new(source.take(left_bytes.saturating_add(MOST_ENTRIES as u64 * 1024)));
    let mut paths: Vec<FilePath> = Vec::new();
    for (n, entry) in archive.entries().map_err(failed)?.enumerate() {
        let mut entry = entry.map_err(failed)?;
        let text = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if n >= MOST_ENTRIES {
            return Err(refused(&text, "the layer has too many entries"));
        }
        let kind = entry.header().entry_type();
        let plain = text.trim_start_matches("./").trim_end_matches('/');
        if kind.is_dir() {
            if !matches!(plain, "" | ".") {
                plain.parse::<FilePath>()?;
            }
            continue;
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(refused(&text, "it is neither a file nor a folder"));
        }
        let path: FilePath = plain.parse()?;
        left_bytes = left_bytes.checked_sub(entry.size()).ok_or_else(|| {
            refused(
                &text,
                "the layer unpacks to far more than its size, or than the disk holds",
            )
        })?;
        write_file(layer, &folder.join(path.as_str()), &mut entry)?;
        paths.push(path);
    }
    Ok(FilePath::check_distinct(&paths)?)
}

fn write_file(layer: &Descriptor, path: &Path, entry: &mut impl Read) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_folders(parent)?;
    }
    let mut file = fs::File::create_new(path)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = entry.read(&mut buffer).map_err(|source| Error::Unpack {
            layer: layer.digest,
            source,
        })?;
        if read == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..read])?;
    }
}

/// Reads a blob where the standard library's trait is wanted.
struct Blob(fs::File);

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| error.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    #[test]
    fn a_layer_unpacks_to_no_more_than_the_disk_holds() {
        assert_eq!(most_bytes(1, Some(1000)), 1000);
        assert_eq!(most_bytes(1, Some(u64::MAX)), UNPACKED_BYTES);
        assert_eq!(most_bytes(UNPACKED_BYTES, None), UNPACKED_BYTES * UNPACKED_RATIO);
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2000);
        header.set_mode(0o644);
        header.set_cksum();
        archive
            .append_data(&mut header, "model.onnx", &[7u8; 2000][..])
            .unwrap();
        let bytes = archive.into_inner().unwrap();
        let layer = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
        let folder = tempfile::tempdir().unwrap();
        let refused = read_at_most(&layer, bytes.as_slice(), folder.path(), most_bytes(1, Some(1999)));
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("than the disk holds"), "{message}");
        assert!(fs::names(folder.path()).unwrap().is_empty());
        read_at_most(&layer, bytes.as_slice(), folder.path(), most_bytes(1, Some(2000))).unwrap();
        assert_eq!(fs::names(folder.path()).unwrap().len(), 1);
    }
}
