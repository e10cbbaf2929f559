/// Says why a picture cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// There is nothing.
    #[error("the picture is empty: it has 0 bytes")]
    Empty,
    /// The bytes are no picture's.
    #[error("this is no picture that gpux reads: its first bytes are not those of PNG, JPEG, WebP, GIF, BMP or TIFF")]
    Unknown,
    /// The picture is of a kind that has no plain colours.
    #[error("the picture has {0}; convert it to RGB first")]
    Colors(&'static str),
    /// The values of the picture are finer than those that are read.
    #[error("the picture has {0} bits a channel, and gpux reads JPEGs of 8; convert it first")]
    Depth(u8),
    /// The picture is too large.
    #[error("the picture has {width} × {height} pixels, and gpux decodes at most {limit} million")]
    TooLarge { width: u32, height: u32, limit: u64 },
    /// The picture has no pixels.
    #[error("the picture has {width} × {height} pixels, so there is nothing in it")]
    NoPixels { width: u32, height: u32 },
    /// The file ends before the picture does.
    #[error("the picture is cut off: its file ends before it does")]
    Truncated,
    /// The picture is damaged, or of a form that the decoder does not know.
    #[error("the picture cannot be decoded")]
    Decode(#[from] image::ImageError),
    /// The same of a JPEG.
    #[error("the picture cannot be decoded")]
    Jpeg(#[from] libjpeg_turbo_rs::JpegError),
    /// The picture cannot be resized.
    #[error("the picture cannot be resized from {from:?} to {to:?} pixels")]
    Resize { from: (u32, u32), to: (u32, u32) },
    /// The picture is larger than what it is to be filled up to.
    #[error("the picture has {width} × {height} pixels here, and `pad` fills up to {to_width} × {to_height}")]
    PadSmaller {
        width: u32,
        height: u32,
        to_width: u32,
        to_height: u32,
    },
    /// The picture's size here is not the input's.
    #[error("the picture has {width} × {height} pixels here, and the model takes {wanted}")]
    Size { width: u32, height: u32, wanted: String },
}
