use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::pipeline::{Answer, Error, Frame, Mask};

use super::labels::Names;
use super::numbers::Numbers;

/// Tells the class of each pixel of the picture as it was given, from scores for each pixel of the input or of a picture
/// like it that is smaller.
///
/// Of several classes, each pixel has the one of the greatest score; of one, it has class 1 where the score is above 0.
/// A pixel that did not go into the model has class 0.
pub(super) fn mask(scores: Numbers, frame: Option<Frame>, names: &Names) -> Result<Answer, Error> {
    let frame = frame.ok_or_else(|| Error::Missing("image".to_owned()))?;
    let (classes, height, width) = match *scores.shape.as_slice() {
        [classes, height, width] => (classes, height, width),
        [height, width] => (1, height, width),
        _ => return Err(scores.misshapen("mask", "scores for each pixel")),
    };
    if !(1..=256).contains(&classes) || height == 0 || width == 0 {
        return Err(scores.misshapen("mask", "scores of 1 to 256 classes for each pixel"));
    }
    let small = chosen(&scores.values, classes, height * width);
    let scale = (
        width as f64 / f64::from(frame.input.0),
        height as f64 / f64::from(frame.input.1),
    );
    let mut pixels = Vec::with_capacity(frame.width as usize * frame.height as usize);
    let column = |x: u32| (frame.forth(f64::from(x) + 0.5, 0.0).0 * scale.0).floor();
    let columns: Vec<f64> = (0..frame.width).map(column).collect();
    for y in 0..frame.height {
        let row = (frame.forth(0.0, f64::from(y) + 0.5).1 * scale.1).floor();
        for &column in &columns {
            let inside = row >= 0.0 && column >= 0.0 && row < height as f64 && column < width as f64;
            pixels.push(match inside {
                true => small[row as usize * width + column as usize],
                false => 0,
            });
        }
    }
    let mut counts = [0usize; 256];
    for &class in &pixels {
        counts[usize::from(class)] += 1;
    }
    let mut present: Vec<(usize, usize)> = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
    present.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let labels = present
        .into_iter()
        .map(|(class, count)| names.label(class, count as f32 / pixels.len() as f32));
    Ok(Answer::Mask(Mask {
        width: frame.width,
        height: frame.height,
        labels: labels.collect::<Result<_, _>>()?,
        png: png(&pixels, frame.width, frame.height)?,
        classes: pixels,
    }))
}

fn chosen(scores: &[f32], classes: usize, pixels: usize) -> Vec<u8> {
    if classes == 1 {
        return scores.iter().map(|&score| u8::from(score > 0.0)).collect();
    }
    (0..pixels)
        .map(|pixel| {
            let score = |class: &usize| scores[class * pixels + pixel];
            // Of equal scores the first: `max_by` takes the last.
            let best = (0..classes)
                .rev()
                .max_by(|left, right| score(left).total_cmp(&score(right)));
            best.unwrap_or(0) as u8
        })
        .collect()
}

fn png(pixels: &[u8], width: u32, height: u32) -> Result<String, Error> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width, height, ExtendedColorType::L8)
        .map_err(|error| Error::Picture(error.into()))?;
    Ok(STANDARD.encode(bytes))
}
