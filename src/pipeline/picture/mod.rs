//! Pictures made into tensors.

mod decode;
mod error;
mod frame;
mod jpeg;
pub(super) mod letters;
mod raster;
mod resize;
mod values;

pub use decode::Limits;
pub(super) use decode::decode;
pub use error::PictureError;
pub use frame::Frame;
pub(super) use raster::Raster;

use crate::gpuxfile::{Color, InputStep, Located, Picture};
use crate::tensor::{Port, Tensor};

use super::Error;
use values::Values;

/// Is the way of a picture into an input.
#[derive(Debug)]
pub(super) struct PictureSteps {
    picture: Picture,
    /// The steps on pixels, in order.
    moves: Vec<InputStep>,
    values: Values,
    limits: Limits,
}

impl PictureSteps {
    /// Gets steps that were checked against the input `port` ready.
    pub fn new(steps: &[Located<InputStep>], port: &Port) -> PictureSteps {
        let steps: Vec<&InputStep> = steps.iter().map(|step| &step.value).collect();
        let picture = steps.iter().find_map(|step| match step {
            InputStep::Picture(picture) => Some(picture.clone()),
            _ => None,
        });
        let picture = picture.unwrap_or(Picture {
            color: Color::Rgb,
            background: None,
        });
        let is_move = |step: &InputStep| {
            matches!(
                step,
                InputStep::Resize(_)
                    | InputStep::CenterCrop(_)
                    | InputStep::Pad(_)
                    | InputStep::Convert(_)
                    | InputStep::Invert
            )
        };
        let moves: Vec<InputStep> = steps
            .iter()
            .filter(|step| is_move(step))
            .map(|step| (*step).clone())
            .collect();
        let color = moves.iter().rev().find_map(|step| match step {
            InputStep::Convert(color) => Some(*color),
            _ => None,
        });
        let values = Values::new(&steps, color.unwrap_or(picture.color), port);
        PictureSteps {
            picture,
            moves,
            values,
            limits: Limits::default(),
        }
    }

    /// Makes the bytes of a picture's file into the input's tensor, and tells how the picture lies in it.
    pub fn run(&self, bytes: &[u8]) -> Result<(Tensor, Frame), Error> {
        let raster = decode(bytes, &self.limits)?;
        let mut frame = Frame::whole(raster.width, raster.height);
        let mut raster = raster.flattened(self.picture.background).converted(self.picture.color);
        let mut moves = self.moves.iter().peekable();
        while let Some(step) = moves.next() {
            raster = match step {
                InputStep::Resize(resize) => match moves.peek() {
                    Some(InputStep::CenterCrop(size)) => {
                        moves.next();
                        resize::resize_and_crop(raster, resize, *size, &mut frame)?
                    }
                    _ => resize::resize(raster, resize, &mut frame)?,
                },
                InputStep::CenterCrop(size) => raster.center_cropped(*size, &mut frame),
                InputStep::Pad(pad) => raster.padded(pad, &mut frame)?,
                InputStep::Convert(color) => raster.converted(*color),
                InputStep::Invert => raster.inverted(),
                _ => raster,
            };
        }
        Ok((self.values.tensor(&raster)?, frame))
    }
}
