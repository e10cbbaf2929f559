/// Says how a sound is decoded: one channel, at a rate, and as long as is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Samples in a second.
    pub rate: u32,
    /// How long it is made, cut off or followed by silence; `None` leaves the length to the sound.
    pub seconds: Option<f64>,
}

/// Says how samples become frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Samples of a frame.
    pub size: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
}

/// Says how samples become the logarithm of the power in bands.
#[derive(Clone, Debug, PartialEq)]
pub struct Mel {
    /// Samples of one transform.
    pub size: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// How many bands.
    pub bands: u32,
    /// Where the first band starts. Units: Hz.
    pub low: f64,
    /// Where the last band ends; `None`, which no file that was read has, for half the rate. Units: Hz.
    pub high: Option<f64>,
    /// How bands are spaced.
    pub scale: MelScale,
    /// Whether each band is divided by half its width, so that bands of noise are alike.
    pub even: bool,
    /// What lies beyond the ends.
    pub edge: Edge,
    /// What is made of the power.
    pub log: MelLog,
    /// How far below the greatest value the others may lie.
    pub range: Option<f64>,
}

/// Says how frequencies are spaced as the ear hears them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MelScale {
    /// Linear below 1,000 Hz and logarithmic above.
    Slaney,
    /// `2595 · log₁₀(1 + f / 700)`.
    Htk,
}

/// Says what lies before the first sample and after the last one, where a frame reaches there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Frames are centred on their time, and the samples are mirrored at either end, which is not repeated.
    Reflect,
    /// Frames are centred on their time, and there is silence beyond.
    Silence,
    /// The first frame starts with the first sample, and none reaches beyond the last.
    None,
}

/// Says what is made of the power x in a band, which counts as at least 10⁻¹⁰.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MelLog {
    /// `(log₁₀ x + 4) / 4`, the last frame left out.
    Whisper,
    /// `log₁₀ x`.
    Log10,
    /// `ln x`.
    Ln,
    /// `10 · log₁₀ x`.
    Decibel,
}

impl MelScale {
    pub(super) const NAMES: &[(&str, MelScale)] = &[("slaney", MelScale::Slaney), ("htk", MelScale::Htk)];
}

impl Edge {
    pub(super) const NAMES: &[(&str, Edge)] = &[
        ("reflect", Edge::Reflect),
        ("silence", Edge::Silence),
        ("none", Edge::None),
    ];
}

impl MelLog {
    pub(super) const NAMES: &[(&str, MelLog)] = &[
        ("whisper", MelLog::Whisper),
        ("log10", MelLog::Log10),
        ("ln", MelLog::Ln),
        ("decibel", MelLog::Decibel),
    ];
}

impl Mel {
    /// Gives what Whisper takes, of so many bands.
    pub fn whisper(bands: u32) -> Mel {
        Mel {
            size: 400,
            hop: 160,
            bands,
            low: 0.0,
            high: Some(8_000.0),
            scale: MelScale::Slaney,
            even: true,
            edge: Edge::Reflect,
            log: MelLog::Whisper,
            range: Some(8.0),
        }
    }
}

impl Sound {
    /// Counts the samples, where the length is fixed.
    pub fn samples(&self) -> Option<u64> {
        self.seconds
            .map(|seconds| (seconds * f64::from(self.rate)).round() as u64)
    }
}

impl Frames {
    /// Counts the frames of so many samples.
    pub fn count(&self, samples: u64) -> u64 {
        1 + samples.saturating_sub(self.size.into()) / u64::from(self.hop)
    }
}

impl Mel {
    /// Counts the frames of so many samples.
    pub fn frames(&self, samples: u64) -> u64 {
        let beyond = match self.edge {
            Edge::Reflect | Edge::Silence => 2 * u64::from(self.size / 2),
            Edge::None => 0,
        };
        let all = match (samples + beyond).checked_sub(self.size.into()) {
            Some(rest) => 1 + rest / u64::from(self.hop),
            None => 0,
        };
        match self.log {
            MelLog::Whisper => all.saturating_sub(1),
            _ => all,
        }
    }
}
