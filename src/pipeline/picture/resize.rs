//! Pictures made larger or smaller, in the arithmetic of Pillow: two passes of 8 bits, weights of 22 bits of fraction.

use std::f64::consts::PI;
use std::thread;

use crate::gpuxfile::{Filter, Resize, ResizeTo, Size};

use super::{Frame, Limits, PictureError, Raster};

/// Changes the size of a picture.
pub fn resize(raster: Raster, resize: &Resize, frame: &mut Frame) -> Result<Raster, PictureError> {
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

/// Changes the size of a picture and cuts out the middle, of which alone the pixels are worked out.
pub fn resize_and_crop(raster: Raster, by: &Resize, size: Size, frame: &mut Frame) -> Result<Raster, PictureError> {
    let from = (raster.width, raster.height);
    let to = match by.to {
        ResizeTo::Exact(Size { height, width }) => (width, height),
        ResizeTo::Shortest(side) => shortest(from, side),
        ResizeTo::Letterbox { .. } => (0, 0),
    };
    let is_inside = size.width <= to.0 && size.height <= to.1;
    if !is_inside || from == to || by.filter == Filter::Nearest {
        return Ok(resize(raster, by, frame)?.center_cropped(size, frame));
    }
    check(from, to)?;
    let (left, top) = ((to.0 - size.width) / 2, (to.1 - size.height) / 2);
    frame.resized(to.0, to.1);
    frame.moved((-i64::from(left), -i64::from(top)), (size.width, size.height));
    let columns = Weights::new(from.0, to.0, by).part(left, size.width);
    let rows = Weights::new(from.1, to.1, by).part(top, size.height);
    Ok(by_channels(&raster, &columns, &rows))
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

/// Refuses a size that grows without bound, as that of a strip of one pixel would.
fn check(from: (u32, u32), to: (u32, u32)) -> Result<(), PictureError> {
    /// The longest side that a picture may have in between.
    const LONGEST: u32 = 65_535;
    if to.0 > LONGEST || to.1 > LONGEST || u64::from(to.0) * u64::from(to.1) > Limits::default().pixels {
        return Err(PictureError::Resize { from, to });
    }
    Ok(())
}

fn scaled(raster: Raster, to: (u32, u32), resize: &Resize, frame: &mut Frame) -> Result<Raster, PictureError> {
    let from = (raster.width, raster.height);
    check(from, to)?;
    frame.resized(to.0, to.1);
    if from == to {
        return Ok(raster);
    }
    if resize.filter == Filter::Nearest {
        return Ok(nearest(&raster, to));
    }
    let columns = Weights::new(from.0, to.0, resize);
    let rows = Weights::new(from.1, to.1, resize);
    Ok(by_channels(&raster, &columns, &rows))
}

fn by_channels(raster: &Raster, columns: &Weights, rows: &Weights) -> Raster {
    match raster.channels {
        1 => filtered::<1>(raster, columns, rows),
        _ => filtered::<3>(raster, columns, rows),
    }
}

/// Takes for each pixel the one that its middle lies in.
fn nearest(raster: &Raster, (width, height): (u32, u32)) -> Raster {
    let source = |at: u32, from: u32, to: u32| {
        let place = (f64::from(at) + 0.5) * (f64::from(from) / f64::from(to));
        (place as u32).min(from - 1) as usize
    };
    let columns: Vec<usize> = (0..width).map(|x| source(x, raster.width, width)).collect();
    let mut target = Raster::filled(width, height, raster.channels, 0);
    let row_bytes = raster.width as usize * raster.channels;
    for (y, row) in target
        .data
        .chunks_exact_mut(width as usize * raster.channels)
        .enumerate()
    {
        let from = source(y as u32, raster.height, height) * row_bytes;
        for (pixel, column) in row.chunks_exact_mut(raster.channels).zip(&columns) {
            let at = from + column * raster.channels;
            pixel.copy_from_slice(&raster.data[at..at + raster.channels]);
        }
    }
    target
}

/// The bits of a weight's fraction.
const FRACTION_BITS: u32 = 22;
/// Half of the least value of 8 bits, in the unit of a sum.
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// Holds for each new pixel along one side the old ones that it is made of, and how much each weighs.
struct Weights {
    /// The first old pixel, and where its weights start and end in `all`.
    spans: Vec<(usize, usize, usize)>,
    all: Vec<i32>,
}

impl Weights {
    fn new(from: u32, to: u32, resize: &Resize) -> Weights {
        let scale = f64::from(from) / f64::from(to);
        let stretch = if resize.antialias { scale.max(1.0) } else { 1.0 };
        let reach = support(resize.filter) * stretch;
        let mut spans = Vec::with_capacity(to as usize);
        let mut all = Vec::new();
        for at in 0..to {
            let center = (f64::from(at) + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from as usize);
            let weight = |old: usize| weigh(resize.filter, (old as f64 - center + 0.5) / stretch);
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let start = all.len();
            let unit = f64::from(1u32 << FRACTION_BITS);
            // Rounded away from zero at halves.
            all.extend(weights.iter().map(|weight| (weight / sum * unit).round() as i32));
            spans.push((first, start, all.len()));
        }
        Weights { spans, all }
    }

    /// Keeps those of `count` new pixels from `first` on.
    fn part(mut self, first: u32, count: u32) -> Weights {
        self.spans.truncate((first + count) as usize);
        self.spans.drain(..first as usize);
        self
    }

    /// Gives the old pixels that any of the new ones is made of: the first, and the one after the last.
    fn reach(&self) -> (usize, usize) {
        let first = self.spans.first().map_or(0, |span| span.0);
        let ends = self.spans.iter().map(|(first, start, end)| first + end - start);
        (first, ends.max().unwrap_or(0))
    }

    /// Gives the first old pixel and the weights of each new one.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .map(|&(first, start, end)| (first, &self.all[start..end]))
    }
}

fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest => 0.5,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

/// Gives how much a pixel at a distance weighs.
fn weigh(filter: Filter, distance: f64) -> f64 {
    let x = distance.abs();
    match filter {
        Filter::Nearest => f64::from(u8::from(x < 0.5)),
        Filter::Bilinear => (1.0 - x).max(0.0),
        // The cubic of Keys with a = −½.
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    match x == 0.0 {
        true => 1.0,
        false => (x * PI).sin() / (x * PI),
    }
}

/// Rounds a sum to 8 bits.
fn rounded(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Filters each row, then each column.
fn filtered<const C: usize>(raster: &Raster, columns: &Weights, rows: &Weights) -> Raster {
    let (width, height) = (columns.spans.len(), rows.spans.len());
    let (top, bottom) = rows.reach();
    let row_bytes = raster.width as usize * C;
    let used = &raster.data[top * row_bytes..bottom * row_bytes];
    let narrowed = in_parts((used, row_bytes), width * C, |row, target| {
        along_row::<C>(row, columns, target)
    });
    let mut data = vec![0; width * height * C];
    let mut sums = vec![0i32; width * C];
    for (target, (first, weights)) in data.chunks_exact_mut(width * C).zip(rows.iter()) {
        sums.fill(HALF);
        for (row, weight) in narrowed[(first - top) * width * C..]
            .chunks_exact(width * C)
            .zip(weights)
        {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (value, sum) in target.iter_mut().zip(&sums) {
            *value = rounded(*sum);
        }
    }
    Raster {
        width: width as u32,
        height: height as u32,
        channels: C,
        data,
    }
}

fn along_row<const C: usize>(row: &[u8], columns: &Weights, target: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<C>();
    let (targets, _) = target.as_chunks_mut::<C>();
    for (target, (first, weights)) in targets.iter_mut().zip(columns.iter()) {
        let mut sums = [HALF; C];
        for (pixel, weight) in pixels[first..].iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        *target = sums.map(rounded);
    }
}

/// Works on each row of a picture, on several threads where it is large.
fn in_parts(
    (source, row_bytes): (&[u8], usize),
    target_bytes: usize,
    work: impl Fn(&[u8], &mut [u8]) + Sync,
) -> Vec<u8> {
    /// The bytes from which on another thread is worth its start.
    const LARGE_BYTES: usize = 1 << 20;
    /// The most threads: the decoder before them has one.
    const MOST: usize = 4;
    let height = source.len() / row_bytes;
    let mut data = vec![0; target_bytes * height];
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (source.len() / LARGE_BYTES).clamp(1, cores.min(MOST));
    let part_rows = height.div_ceil(threads).max(1);
    let on_rows = |source: &[u8], target: &mut [u8]| {
        for (row, target) in source
            .chunks_exact(row_bytes)
            .zip(target.chunks_exact_mut(target_bytes))
        {
            work(row, target);
        }
    };
    thread::scope(|scope| {
        let sources = source.chunks(part_rows * row_bytes);
        let mut parts = sources.zip(data.chunks_mut(part_rows * target_bytes));
        let first = parts.next();
        for (source, target) in parts {
            scope.spawn(move || on_rows(source, target));
        }
        if let Some((source, target)) = first {
            on_rows(source, target);
        }
    });
    data
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

    #[test]
    fn a_cut_out_middle_is_the_same_as_the_middle_of_the_whole() {
        let picture = |width: u32, height: u32| Raster {
            width,
            height,
            channels: 3,
            data: (0..width * height * 3)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        };
        let filters = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];
        for (filter, antialias) in filters.into_iter().flat_map(|filter| [(filter, true), (filter, false)]) {
            for (width, height, side, crop) in [
                (90, 61, 32, 28),
                (61, 90, 40, 33),
                (20, 30, 45, 45),
                (50, 50, 50, 7),
                (9, 8, 6, 20),
            ] {
                let by = Resize {
                    to: ResizeTo::Shortest(side),
                    filter,
                    antialias,
                };
                let size = Size {
                    height: crop,
                    width: crop.min(side),
                };
                let mut frames = [Frame::whole(width, height); 2];
                let whole = resize(picture(width, height), &by, &mut frames[0]).unwrap();
                let expected = whole.center_cropped(size, &mut frames[0]);
                let found = resize_and_crop(picture(width, height), &by, size, &mut frames[1]).unwrap();
                assert_eq!((found.width, found.height), (expected.width, expected.height));
                assert_eq!(found.data, expected.data, "{filter:?} {width}x{height} {side} {crop}");
                assert_eq!(frames[0], frames[1]);
            }
        }
    }

    #[test]
    fn rows_are_the_same_on_any_number_of_threads() {
        let large = Raster {
            width: 1200,
            height: 1001,
            channels: 3,
            data: (0..1200 * 1001 * 3)
                .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        };
        let to = Resize {
            to: ResizeTo::Exact(Size {
                height: 1001,
                width: 70,
            }),
            filter: Filter::Lanczos,
            antialias: true,
        };
        let whole = resize(large.clone(), &to, &mut Frame::whole(1200, 1001)).unwrap();
        let strip = |from: usize| Raster {
            height: 1,
            data: large.data[from * 3600..(from + 1) * 3600].to_vec(),
            ..large.clone()
        };
        for row in [0, 333, 334, 500, 1000] {
            let one = Resize {
                to: ResizeTo::Exact(Size { height: 1, width: 70 }),
                ..to
            };
            let alone = resize(strip(row), &one, &mut Frame::whole(1200, 1)).unwrap();
            assert_eq!(alone.data, whole.data[row * 210..(row + 1) * 210], "row {row}");
        }
    }
}
