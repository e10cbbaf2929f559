use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageFormat, ImageReader};

use super::{PictureError, Raster, jpeg};

/// Bounds what a picture may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most pixels.
    pub pixels: u64,
}

impl Default for Limits {
    /// A hundred million pixels: more than any camera of a phone makes, and 400 MB at most.
    fn default() -> Self {
        Limits { pixels: 100_000_000 }
    }
}

/// Decodes a picture's file and turns it upright.
///
/// Errors: [`PictureError`]; a file that is cut off is one, and so is a picture larger than `limits`, of whose pixels
/// nothing is decoded.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| PictureError::Unknown)?;
    let known = matches!(
        format,
        ImageFormat::Png
            | ImageFormat::Jpeg
            | ImageFormat::WebP
            | ImageFormat::Gif
            | ImageFormat::Bmp
            | ImageFormat::Tiff
    );
    if !known {
        return Err(PictureError::Unknown);
    }
    let (raster, orientation) = match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits)?,
        format => decode_as(format, bytes, limits)?,
    };
    Ok(upright(raster, orientation))
}

/// Decodes a picture of any other form, and tells how its camera was held.
fn decode_as(format: ImageFormat, bytes: &[u8], limits: &Limits) -> Result<(Raster, Orientation), PictureError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut bounds = image::Limits::default();
    // Ten bytes a pixel hold 16 bits of four channels, and what a decoder keeps beside them.
    bounds.max_alloc = Some(limits.pixels.saturating_mul(10));
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(told)?;
    let (width, height) = decoder.dimensions();
    check_size((width, height), limits)?;
    if matches!(
        decoder.original_color_type(),
        ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16
    ) {
        return Err(PictureError::Colors("the colours of print (CMYK)"));
    }
    // Metadata that cannot be read say nothing, and the pixels may be sound.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let mut data = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut data).map_err(told)?;
    let channels = usize::from(color.channel_count());
    let data = match color.bytes_per_pixel() as usize / channels {
        1 => data,
        2 => data
            .chunks_exact(2)
            .map(|pair| (u16::from_ne_bytes([pair[0], pair[1]]) >> 8) as u8)
            .collect(),
        _ => return Err(PictureError::Colors("floating-point colours")),
    };
    let raster = Raster {
        width,
        height,
        channels,
        data,
    };
    Ok((raster, orientation))
}

/// Refuses a picture without pixels, and one of too many.
pub(super) fn check_size((width, height): (u32, u32), limits: &Limits) -> Result<(), PictureError> {
    if width == 0 || height == 0 {
        return Err(PictureError::NoPixels { width, height });
    }
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(PictureError::TooLarge {
            width,
            height,
            limit: limits.pixels / 1_000_000,
        });
    }
    Ok(())
}

/// Tells a file that ends too early from one that is damaged.
fn told(error: image::ImageError) -> PictureError {
    match &error {
        image::ImageError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated
        }
        _ => PictureError::Decode(error),
    }
}

/// Turns a picture as its camera was held.
fn upright(raster: Raster, orientation: Orientation) -> Raster {
    if orientation == Orientation::NoTransforms {
        return raster;
    }
    let Raster {
        width,
        height,
        channels,
        data,
    } = raster;
    let image = match channels {
        1 => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageLuma8),
        2 => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageLumaA8),
        3 => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
        _ => ImageBuffer::from_raw(width, height, data).map(DynamicImage::ImageRgba8),
    };
    let mut image = image.expect("the buffer is that of the picture");
    image.apply_orientation(orientation);
    Raster {
        width: image.width(),
        height: image.height(),
        channels,
        data: image.into_bytes(),
    }
}
