use half::{bf16, f16};

use crate::gpuxfile::{Color, InputStep, Layout};
use crate::tensor::{DType, Data, Dim, Element, Port, Tensor};

use super::{PictureError, Raster};
use crate::pipeline::Error;

/// Makes pixels into the values of a tensor: what each of the 256 values of a channel becomes is worked out once.
#[derive(Debug)]
pub(super) struct Values {
    /// What each value of each channel becomes, in the order in which the channels are written.
    tables: Vec<[f64; 256]>,
    color: Color,
    layout: Layout,
    dtype: DType,
    /// Whether the input has a dimension for the batch.
    batched: bool,
    /// The sizes that the input fixes.
    wanted: (Option<u64>, Option<u64>),
}

impl Values {
    pub fn new(steps: &[&InputStep], color: Color, port: &Port) -> Values {
        let channels = color.channels();
        let form = steps.iter().find_map(|step| match step {
            InputStep::Tensor(form) => Some(form.layout),
            _ => None,
        });
        let layout = form.unwrap_or_else(|| Layout::of_input(port, channels));
        let tables = (0..channels).map(|channel| table(steps, channel)).collect();
        let dims = port.shape.dims();
        let fixed = |at: usize| match dims.and_then(|dims| dims.get(dims.len().wrapping_sub(at))) {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        };
        Values {
            tables,
            color,
            layout,
            dtype: port.dtype,
            batched: dims.is_none_or(|dims| dims.len() != 3),
            wanted: match layout {
                Layout::Nchw => (fixed(1), fixed(2)),
                Layout::Nhwc => (fixed(2), fixed(3)),
            },
        }
    }

    /// Writes the values of a picture.
    ///
    /// Shape: the input's; with a batch of 1 where it has a dimension for one.
    pub fn tensor(&self, raster: &Raster) -> Result<Tensor, Error> {
        let (width, height) = (raster.width, raster.height);
        let (wanted_width, wanted_height) = self.wanted;
        let differs = |wanted: Option<u64>, side: u32| wanted.is_some_and(|wanted| wanted != u64::from(side));
        if differs(wanted_width, width) || differs(wanted_height, height) {
            let side = |wanted: Option<u64>| wanted.map_or_else(|| "any".to_owned(), |side| side.to_string());
            return Err(Error::Picture(PictureError::Size {
                width,
                height,
                wanted: format!("{} × {}", side(wanted_width), side(wanted_height)),
            }));
        }
        let data = match self.dtype {
            DType::F16 => self.write(raster, f16::from_f64),
            DType::BF16 => self.write(raster, bf16::from_f64),
            DType::F64 => self.write(raster, |value| value),
            DType::U8 => self.write(raster, |value| value as u8),
            _ => self.write(raster, |value| value as f32),
        };
        let (height, width, channels) = (height as usize, width as usize, raster.channels);
        let inner = match self.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        let shape = match self.batched {
            true => [&[1], inner.as_slice()].concat(),
            false => inner.to_vec(),
        };
        Ok(Tensor::new(shape, data)?)
    }

    fn write<T: Element + Copy>(&self, raster: &Raster, make: impl Fn(f64) -> T) -> Data {
        let channels = raster.channels;
        let tables: Vec<[T; 256]> = self.tables.iter().map(|table| table.map(&make)).collect();
        // Pixels are red, green, blue; what is written first may be blue.
        let source = |channel: usize| match self.color {
            Color::Bgr => channels - 1 - channel,
            _ => channel,
        };
        let mut values: Vec<T> = Vec::with_capacity(raster.data.len());
        match self.layout {
            Layout::Nchw => {
                for (channel, table) in tables.iter().enumerate() {
                    let pixels = raster.data.chunks_exact(channels);
                    let from = source(channel);
                    values.extend(pixels.map(|pixel| table[usize::from(pixel[from])]));
                }
            }
            Layout::Nhwc => {
                for pixel in raster.data.chunks_exact(channels) {
                    let of = |(channel, table): (usize, &[T; 256])| table[usize::from(pixel[source(channel)])];
                    values.extend(tables.iter().enumerate().map(of));
                }
            }
        }
        T::wrap(values)
    }
}

/// Works out what each value of a channel becomes, in double precision, rounded once at the end.
fn table(steps: &[&InputStep], channel: usize) -> [f64; 256] {
    let of_channel = |values: &[f64]| values.get(channel).or(values.first()).copied();
    std::array::from_fn(|value| {
        steps.iter().fold(value as f64, |value, step| match step {
            InputStep::Rescale(factor) => value * factor,
            InputStep::Normalize(normalize) => {
                (value - of_channel(&normalize.mean).unwrap_or(0.0)) / of_channel(&normalize.std).unwrap_or(1.0)
            }
            _ => value,
        })
    })
}
