/// Tells how a picture lies in what went into the model.
///
/// Units: a point (x, y) of the picture as it was given, upright, in pixels, is (x · scale + left, y · scale + top) there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// The picture's width as it was given, in pixels.
    pub width: u32,
    /// The picture's height as it was given, in pixels.
    pub height: u32,
    /// The size of what went in.
    pub input: (u32, u32),
    scale: (f64, f64),
    offset: (f64, f64),
}

impl Frame {
    /// Takes a picture that goes in as it is.
    pub fn whole(width: u32, height: u32) -> Self {
        Frame {
            width,
            height,
            input: (width, height),
            scale: (1.0, 1.0),
            offset: (0.0, 0.0),
        }
    }

    /// Notes that what went in so far was resized.
    pub(super) fn resized(&mut self, width: u32, height: u32) {
        let (x, y) = (
            f64::from(width) / f64::from(self.input.0),
            f64::from(height) / f64::from(self.input.1),
        );
        self.scale = (self.scale.0 * x, self.scale.1 * y);
        self.offset = (self.offset.0 * x, self.offset.1 * y);
        self.input = (width, height);
    }

    /// Notes that what went in so far was moved within a picture of another size; cut off where it is negative.
    pub(super) fn moved(&mut self, (left, top): (i64, i64), (width, height): (u32, u32)) {
        self.offset = (self.offset.0 + left as f64, self.offset.1 + top as f64);
        self.input = (width, height);
    }

    /// Finds the point of the picture that lies at a point of what went in.
    pub fn back(&self, x: f64, y: f64) -> (f64, f64) {
        ((x - self.offset.0) / self.scale.0, (y - self.offset.1) / self.scale.1)
    }

    /// Finds the point of what went in that shows a point of the picture.
    pub fn forth(&self, x: f64, y: f64) -> (f64, f64) {
        (x * self.scale.0 + self.offset.0, y * self.scale.1 + self.offset.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_goes_there_and_back() {
        let mut frame = Frame::whole(1000, 500);
        frame.resized(640, 320);
        frame.moved((0, 160), (640, 640));
        assert_eq!(frame.forth(500.0, 250.0), (320.0, 320.0));
        let (x, y) = frame.back(0.0, 160.0);
        assert!(x.abs() < 1e-9 && y.abs() < 1e-9);
        frame.moved((-10, -20), (600, 600));
        let (x, y) = frame.back(310.0, 300.0);
        assert!((x - 500.0).abs() < 1e-9 && (y - 250.0).abs() < 1e-9);
    }
}
