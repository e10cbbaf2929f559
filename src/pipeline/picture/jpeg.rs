//! JPEGs, through a decoder whose pixels are libjpeg-turbo's to the last bit, as Pillow's are.

use image::metadata::Orientation;
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::decode::check_size;
use super::{Limits, PictureError, Raster};

/// The most passes over a picture that a file may ask for: those that encoders write have ten or so.
const MOST_SCANS: usize = 100;

/// Decodes a JPEG, and tells how its camera was held.
///
/// Errors: [`PictureError`]; nothing is decoded of a picture that is too large, or is not of 8 bits in grey or colour.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<(Raster, Orientation), PictureError> {
    check_end(bytes)?;
    let bounds = DecodeLimits {
        max_width: usize::from(u16::MAX),
        max_height: usize::from(u16::MAX),
        max_pixels: limits.pixels,
        max_scans: MOST_SCANS,
        // Coefficients, planes and pixels of three channels take twelve bytes a pixel.
        max_memory: Some(limits.pixels.saturating_mul(16)),
    };
    let mut decoder = Decoder::new_with_limits(bytes, bounds).map_err(told)?;
    let frame = decoder.header();
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    check_size((width, height), limits)?;
    if frame.precision != 8 {
        return Err(PictureError::Depth(frame.precision));
    }
    let (channels, format) = match frame.components.len() {
        1 => (1, PixelFormat::Grayscale),
        3 => (3, PixelFormat::Rgb),
        4 => return Err(PictureError::Colors("the colours of print (CMYK)")),
        _ => return Err(PictureError::Colors("colours of an unknown kind")),
    };
    decoder.set_output_format(format);
    // Where passes are missing, libjpeg smooths the blocks that they leave.
    decoder.set_block_smoothing(true);
    // Metadata that cannot be read say nothing, and the pixels may be sound.
    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk);
    let raster = Raster {
        width,
        height,
        channels,
        data: decoder.decode_image().map_err(told)?.into_vec(),
    };
    Ok((raster, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Tells a file that ends too early from one that is damaged.
fn told(error: JpegError) -> PictureError {
    match error {
        JpegError::UnexpectedEof => PictureError::Truncated,
        error => PictureError::Jpeg(error),
    }
}

/// Looks for what the decoder does without: the mark that ends a picture.
fn check_end(bytes: &[u8]) -> Result<(), PictureError> {
    let mut at = 2;
    // A picture in the metadata has an end of its own.
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        match marker {
            // Fill bytes before a marker.
            0xff => {
                at += 1;
                continue;
            }
            0xda => break,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
            return Err(PictureError::Truncated);
        };
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    // In what follows, these two bytes stand together at the end of the picture alone.
    let scan = bytes.get(at..).unwrap_or_default();
    match scan.windows(2).rposition(|pair| pair == [0xff, 0xd9]) {
        Some(_) => Ok(()),
        None => Err(PictureError::Truncated),
    }
}
