use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::gpuxfile::{Filter, Resize, ResizeTo, Size};

use super::{Frame, PictureError, Raster};

/// Changes the size of a picture.
pub fn resize(raster: &Raster, resize: &Resize, frame: &mut Frame) -> Result<Raster, PictureError> {
    let from = (raster.width, raster.height);
    match resize.to {
        ResizeTo::Exact(Size { height, width }) => scaled(raster, (width, height), resize, frame),
        ResizeTo::Shortest(side) => scaled(raster, shortest(from, side), resize, frame),
        ResizeTo::Letterbox { size, fill } => {
            let to = within(from, size);
            let inner = scaled(raster, to, resize, frame)?;
            // Half a pixel that is left over goes to the right and below.
            let place = (i64::from(size.width - to.0) / 2, i64::from(size.height - to.1) / 2);
            Ok(inner.placed(place, size, fill, frame))
        }
    }
}

/// Gives the size whose shorter side has a length; the longer one is rounded down.
fn shortest((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        let length = u64::from(side) * u64::from(long) / u64::from(short);
        u32::try_from(length.max(1)).unwrap_or(u32::MAX)
    };
    match width <= height {
        true => (side, longer(height, width)),
        false => (longer(width, height), side),
    }
}

/// Gives the largest size of the same proportions within another; sides are rounded, halves to the even number.
fn within((width, height): (u32, u32), size: Size) -> (u32, u32) {
    let ratio = (f64::from(size.width) / f64::from(width)).min(f64::from(size.height) / f64::from(height));
    let side = |length: u32, most: u32| ((f64::from(length) * ratio).round_ties_even() as u32).clamp(1, most);
    (side(width, size.width), side(height, size.height))
}

fn scaled(raster: &Raster, to: (u32, u32), resize: &Resize, frame: &mut Frame) -> Result<Raster, PictureError> {
    /// The longest side that a picture may have in between: a strip of one pixel would grow without bound.
    const LONGEST: u32 = 65_535;
    let from = (raster.width, raster.height);
    frame.resized(to.0, to.1);
    if from == to {
        return Ok(raster.clone());
    }
    let failed = || PictureError::Resize { from, to };
    if to.0 > LONGEST || to.1 > LONGEST || u64::from(to.0) * u64::from(to.1) > super::Limits::default().pixels {
        return Err(failed());
    }
    let pixel = match raster.channels {
        1 => PixelType::U8,
        _ => PixelType::U8x3,
    };
    let filter = match resize.filter {
        Filter::Nearest => None,
        Filter::Bilinear => Some(FilterType::Bilinear),
        Filter::Bicubic => Some(FilterType::CatmullRom),
        Filter::Lanczos => Some(FilterType::Lanczos3),
    };
    let algorithm = match (filter, resize.antialias) {
        (None, _) => ResizeAlg::Nearest,
        (Some(filter), true) => ResizeAlg::Convolution(filter),
        (Some(filter), false) => ResizeAlg::Interpolation(filter),
    };
    let source = ImageRef::new(from.0, from.1, &raster.data, pixel).map_err(|_| failed())?;
    let mut target = Image::new(to.0, to.1, pixel);
    let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|_| failed())?;
    Ok(Raster {
        width: to.0,
        height: to.1,
        channels: raster.channels,
        data: target.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_is_rounded_down() {
        assert_eq!(shortest((4000, 3000), 256), (341, 256));
        assert_eq!(shortest((3000, 4000), 256), (256, 341));
        assert_eq!(shortest((7, 7), 224), (224, 224));
        assert_eq!(shortest((1000, 1), 1), (1000, 1));
    }

    #[test]
    fn a_picture_fits_within_with_its_proportions() {
        let size = Size {
            height: 640,
            width: 640,
        };
        assert_eq!(within((1280, 720), size), (640, 360));
        assert_eq!(within((10, 4000), size), (2, 640));
        assert_eq!(within((1, 40_000), size), (1, 640));
    }
}
