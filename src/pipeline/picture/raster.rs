use crate::gpuxfile::{Color, Pad, PadPosition, Size};

use super::{Frame, PictureError};

/// Is a picture of 8 bits a channel, row by row, the channels of a pixel beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raster {
    pub width: u32,
    pub height: u32,
    /// 1 is grey, 2 grey and opacity, 3 colour, 4 colour and opacity.
    pub channels: usize,
    pub data: Vec<u8>,
}

impl Raster {
    /// Makes a picture of one brightness.
    pub fn filled(width: u32, height: u32, channels: usize, fill: u8) -> Raster {
        let pixels = width as usize * height as usize;
        Raster {
            width,
            height,
            channels,
            data: vec![fill; pixels * channels],
        }
    }

    /// Lays a picture that has opacity on a background, or leaves the opacity out.
    pub fn flattened(self, background: Option<u8>) -> Raster {
        let kept = match self.channels {
            2 => 1,
            4 => 3,
            _ => return self,
        };
        let mut data = Vec::with_capacity(self.data.len() / self.channels * kept);
        for pixel in self.data.chunks_exact(self.channels) {
            let opacity = u32::from(pixel[kept]);
            for &value in &pixel[..kept] {
                data.push(match background {
                    None => value,
                    Some(behind) => {
                        let sum = u32::from(value) * opacity + u32::from(behind) * (255 - opacity);
                        ((sum + 127) / 255) as u8
                    }
                });
            }
        }
        Raster {
            channels: kept,
            data,
            ..self
        }
    }

    /// Changes the channels: the three of a grey picture are equal, and the one of a coloured one is its luma.
    ///
    /// The order of colour channels is not kept here: [`Color::Bgr`] is told apart where the values are written.
    pub fn converted(self, color: Color) -> Raster {
        match (self.channels, color.channels()) {
            (1, 3) => Raster {
                channels: 3,
                data: self.data.iter().flat_map(|&value| [value; 3]).collect(),
                ..self
            },
            (3, 1) => Raster {
                channels: 1,
                data: self.data.chunks_exact(3).map(luma).collect(),
                ..self
            },
            _ => self,
        }
    }

    /// Turns dark into bright.
    pub fn inverted(mut self) -> Raster {
        for value in &mut self.data {
            *value = 255 - *value;
        }
        self
    }

    /// Cuts out the middle; where the picture is smaller, there is black around it.
    pub fn center_cropped(self, size: Size, frame: &mut Frame) -> Raster {
        let middle = |from: u32, to: u32| (i64::from(to) - i64::from(from)).div_euclid(2);
        // Where the picture is larger, the half that is left over goes to the right and below.
        let start = |from: u32, to: u32| match from > to {
            true => -((i64::from(from) - i64::from(to)) / 2),
            false => middle(from, to),
        };
        let place = (start(self.width, size.width), start(self.height, size.height));
        self.placed(place, size, 0, frame)
    }

    /// Fills a picture up.
    ///
    /// Errors: it is larger.
    pub fn padded(self, pad: &Pad, frame: &mut Frame) -> Result<Raster, PictureError> {
        let Size { height, width } = pad.size;
        if self.width > width || self.height > height {
            return Err(PictureError::PadSmaller {
                width: self.width,
                height: self.height,
                to_width: width,
                to_height: height,
            });
        }
        let place = match pad.position {
            PadPosition::TopLeft => (0, 0),
            PadPosition::Center => (
                i64::from((width - self.width) / 2),
                i64::from((height - self.height) / 2),
            ),
        };
        Ok(self.placed(place, pad.size, pad.fill, frame))
    }

    /// Lays a picture at a place of another, cut off where it reaches out.
    pub fn placed(self, (left, top): (i64, i64), size: Size, fill: u8, frame: &mut Frame) -> Raster {
        frame.moved((left, top), (size.width, size.height));
        if (left, top, size.width, size.height) == (0, 0, self.width, self.height) {
            return self;
        }
        let mut target = Raster::filled(size.width, size.height, self.channels, fill);
        let row_bytes = |raster: &Raster| raster.width as usize * raster.channels;
        let (from_x, to_x) = ((-left).max(0) as usize, left.max(0) as usize);
        let columns = (self.width as usize - from_x.min(self.width as usize))
            .min(size.width as usize - to_x.min(size.width as usize));
        for y in 0..i64::from(size.height) {
            let from_y = y - top;
            if !(0..i64::from(self.height)).contains(&from_y) {
                continue;
            }
            let from = from_y as usize * row_bytes(&self) + from_x * self.channels;
            let to = y as usize * row_bytes(&target) + to_x * self.channels;
            let count = columns * self.channels;
            target.data[to..to + count].copy_from_slice(&self.data[from..from + count]);
        }
        target
    }
}

/// Gives the brightness of a colour: 0.299 R + 0.587 G + 0.114 B, in 16 bits of fraction, rounded.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(width: u32, height: u32) -> Raster {
        Raster {
            width,
            height,
            channels: 1,
            data: (0..width * height).map(|value| value as u8).collect(),
        }
    }

    #[test]
    fn the_middle_is_cut_out_and_black_lies_around_what_is_too_small() {
        let cropped = |width, height, to: (u32, u32)| {
            let size = Size {
                height: to.1,
                width: to.0,
            };
            raster(width, height)
                .center_cropped(size, &mut Frame::whole(width, height))
                .data
        };
        assert_eq!(cropped(4, 4, (2, 2)), [5, 6, 9, 10]);
        assert_eq!(cropped(5, 3, (2, 1)), [6, 7]);
        assert_eq!(cropped(1, 2, (3, 3)), [0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(cropped(3, 1, (1, 2)), [1, 0]);
    }

    #[test]
    fn opacity_is_left_out_or_lets_the_background_through() {
        let pixel = Raster {
            width: 1,
            height: 1,
            channels: 4,
            data: vec![200, 100, 0, 51],
        };
        assert_eq!(pixel.clone().flattened(None).data, [200, 100, 0]);
        assert_eq!(pixel.flattened(Some(255)).data, [244, 224, 204]);
    }

    #[test]
    fn what_is_larger_is_not_filled_up() {
        let pad = Pad {
            size: Size { height: 3, width: 3 },
            fill: 9,
            position: PadPosition::Center,
        };
        let mut frame = Frame::whole(2, 2);
        let padded = raster(2, 2).padded(&pad, &mut frame).unwrap();
        assert_eq!(padded.data, [0, 1, 9, 2, 3, 9, 9, 9, 9]);
        assert!(raster(4, 1).padded(&pad, &mut frame).is_err());
    }
}
