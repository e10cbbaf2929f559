use super::{Container, Error};

/// A recorder that does not know the length in advance writes one about this great. Shape: 2³¹ − 1 and 2³² − 1 are usual,
/// and both less the size of the header.
const UNKNOWN: u32 = 0x7fff_0000;

/// Compares the length that a WAV file says its samples have with the bytes that are there, and writes in the true one
/// where the file says that it does not know.
///
/// Errors: [`Error::CutOff`] where there is less than is declared. Other faults are left to the decoder to find.
pub(super) fn check_length(bytes: &mut [u8]) -> Result<(), Error> {
    let mut at = 12;
    let mut bytes_a_second = None;
    while let Some(header) = bytes.get(at..at + 8) {
        let size = u32_at(header, 4);
        let body = at + 8;
        if header.starts_with(b"data") {
            return check_data(bytes, body, size, bytes_a_second);
        }
        if header.starts_with(b"fmt ") {
            bytes_a_second = bytes.get(body + 8..body + 12).map(|field| u32_at(field, 0));
        }
        // A body of odd length is followed by a byte of padding.
        at = match body.checked_add(size as usize + size as usize % 2) {
            Some(next) => next,
            None => break,
        };
    }
    Err(Error::NoData {
        container: Container::Wav,
    })
}

fn check_data(bytes: &mut [u8], body: usize, declared: u32, bytes_a_second: Option<u32>) -> Result<(), Error> {
    let found = u32::try_from(bytes.len() - body).unwrap_or(u32::MAX);
    if declared >= UNKNOWN && declared > found {
        bytes[body - 4..body].copy_from_slice(&found.to_le_bytes());
        let whole = u32::try_from(bytes.len() - 8).unwrap_or(u32::MAX);
        bytes[4..8].copy_from_slice(&whole.to_le_bytes());
    } else if declared > found {
        let seconds = |size: u32| f64::from(size) / f64::from(bytes_a_second.unwrap_or(0).max(1));
        return Err(Error::CutOff {
            container: Container::Wav,
            found_seconds: seconds(found),
            declared_seconds: seconds(declared),
        });
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}
