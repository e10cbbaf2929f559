use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::gpuxfile::Color;

use super::picture::{Limits, PictureError, Raster, decode, letters};
use super::{Answer, Error, Found};

/// Colours far from each other, for classes by number.
const COLORS: [[u8; 3]; 10] = [
    [230, 25, 75],
    [60, 180, 75],
    [0, 130, 200],
    [245, 130, 48],
    [145, 30, 180],
    [70, 240, 240],
    [240, 50, 230],
    [210, 245, 60],
    [0, 128, 128],
    [255, 225, 25],
];

/// Draws what was found on a copy of the picture: a frame around each box with its class and score, a tint over each class of a mask but 0.
///
/// Shape: the bytes of a PNG of the picture's own size, upright.
/// Errors: the picture cannot be read.
pub fn annotate(picture: &[u8], answers: &[&Answer]) -> Result<Vec<u8>, Error> {
    let raster = decode(picture, &Limits::default())?;
    let mut raster = raster.flattened(Some(255)).converted(Color::Rgb);
    for answer in answers {
        match answer {
            Answer::Mask(mask) if mask.classes.len() * 3 == raster.data.len() => tint(&mut raster, &mask.classes),
            Answer::Boxes { boxes, .. } => {
                // The best last, so that it lies on top; names after all frames, so that none runs through a name.
                for found in boxes.iter().rev() {
                    frame(&mut raster, found.sides, color(found.label.index));
                }
                for found in boxes.iter().rev() {
                    name(&mut raster, found);
                }
            }
            _ => {}
        }
    }
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&raster.data, raster.width, raster.height, ExtendedColorType::Rgb8)
        .map_err(|error| Error::Picture(PictureError::Decode(error)))?;
    Ok(bytes)
}

fn color(class: usize) -> [u8; 3] {
    COLORS[class % COLORS.len()]
}

fn tint(raster: &mut Raster, classes: &[u8]) {
    for (pixel, &class) in raster
        .data
        .chunks_exact_mut(3)
        .zip(classes)
        .filter(|(_, class)| **class > 0)
    {
        for (value, over) in pixel.iter_mut().zip(color(class.into())) {
            *value = u8::midpoint(*value, over);
        }
    }
}

/// Writes the class and its score over the upper edge of the box.
fn name(raster: &mut Raster, found: &Found) {
    let Found { label, sides } = found;
    let text = format!("{} {:.0}%", label.name(), label.score * 100.0);
    let text: String = text.chars().take(40).collect();
    let corner = [sides[0], sides[1]].map(|side| side.max(0.0) as usize);
    letters::write(raster, &text, corner.into(), color(label.index));
}

/// Draws a frame whose lines are as thick as suits the picture, inside the box.
fn frame(raster: &mut Raster, sides: [f32; 4], color: [u8; 3]) {
    let (width, height) = (raster.width as usize, raster.height as usize);
    let thick = (width.min(height) / 200).max(2);
    let within = |value: f32, most: usize| (value.max(0.0) as usize).min(most);
    let (left, right) = (within(sides[0], width), within(sides[2].ceil(), width));
    let (top, bottom) = (within(sides[1], height), within(sides[3].ceil(), height));
    for y in top..bottom {
        let is_edge_row = y < top + thick || y + thick >= bottom;
        for x in left..right {
            if is_edge_row || x < left + thick || x + thick >= right {
                let at = (y * width + x) * 3;
                raster.data[at..at + 3].copy_from_slice(&color);
            }
        }
    }
}
