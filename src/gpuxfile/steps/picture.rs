use crate::tensor::DType;

/// Says how a picture is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The channels.
    pub color: Color,
    /// The brightness of what lies behind transparent parts; `None` leaves the transparency out of account.
    pub background: Option<u8>,
}

/// Names the channels of a picture, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Rgb,
    Bgr,
    Gray,
}

/// Is a height and a width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub height: u32,
    pub width: u32,
}

/// Says how the size of a picture is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    pub to: ResizeTo,
    pub filter: Filter,
    /// Whether the filter widens when a picture shrinks.
    pub antialias: bool,
}

/// Says to which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeTo {
    /// The shorter side has this length, and the proportions stay.
    Shortest(u32),
    /// The sides have these lengths.
    Exact(Size),
    /// The picture fits within, its proportions stay, and what is left over has this brightness.
    Letterbox { size: Size, fill: u8 },
}

/// Names the filter that makes new pixels of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Nearest,
    Bilinear,
    Bicubic,
    Lanczos,
}

/// Says how a picture is filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    pub size: Size,
    pub fill: u8,
    pub position: PadPosition,
}

/// Says where the picture lies in what it is filled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadPosition {
    Center,
    TopLeft,
}

/// Holds a mean and a deviation for each channel, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

/// Says how values lie in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorForm {
    pub layout: Layout,
    pub dtype: DType,
}

/// Says where the channels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channel, row, column.
    Nchw,
    /// Row, column, channel.
    Nhwc,
}

impl Color {
    pub(super) const NAMES: &[(&str, Color)] = &[("rgb", Color::Rgb), ("bgr", Color::Bgr), ("gray", Color::Gray)];

    /// Counts the channels.
    pub fn channels(self) -> usize {
        match self {
            Color::Rgb | Color::Bgr => 3,
            Color::Gray => 1,
        }
    }
}

impl Filter {
    pub(super) const NAMES: &[(&str, Filter)] = &[
        ("nearest", Filter::Nearest),
        ("bilinear", Filter::Bilinear),
        ("bicubic", Filter::Bicubic),
        ("lanczos", Filter::Lanczos),
    ];
}

impl PadPosition {
    pub(super) const NAMES: &[(&str, PadPosition)] =
        &[("center", PadPosition::Center), ("top_left", PadPosition::TopLeft)];
}

impl Layout {
    pub(super) const NAMES: &[(&str, Layout)] = &[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)];
}
