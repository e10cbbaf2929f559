use std::io::Cursor;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Foreign;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::{Container, Error, wav};
use crate::quiet;

/// The sample rates that recordings have.
const LEAST_RATE: u32 = 1_000;
const MOST_RATE: u32 = 384_000;

/// Is a sound of one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Samples in a second.
    pub rate: u32,
    /// The samples; −1 to 1 is what a recording of whole numbers has.
    pub samples: Vec<f32>,
}

/// Bounds what a file may make of a few bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A longer sound is an error.
    pub seconds: f64,
    /// What comes after this is not wanted, and not decoded.
    pub wanted_seconds: Option<f64>,
}

impl Default for Limits {
    /// Two hours, all of them wanted.
    fn default() -> Self {
        Limits {
            seconds: 7200.0,
            wanted_seconds: None,
        }
    }
}

/// Decodes WAV, FLAC, MP3, Ogg Vorbis, or AAC in MPEG-4 or ADTS; several channels become their mean.
///
/// Errors: [`Error`] where the bytes are something else, or damaged, cut off, empty or too long.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Sound, Error> {
    let container = Container::of(bytes)?;
    let mut bytes = bytes.to_vec();
    if container == Container::Wav {
        wav::check_length(&mut bytes)?;
    }
    // The decoders are many, and made for files that mean well: one that panics has met a file that does not.
    quiet::catch(|| decode_as(container, bytes, limits)).unwrap_or_else(|reason| {
        Err(Error::Damaged {
            container,
            at_seconds: 0.0,
            reason,
        })
    })
}

fn decode_as(container: Container, bytes: Vec<u8>, limits: &Limits) -> Result<Sound, Error> {
    let unreadable = |error: Foreign| match error {
        Foreign::IoError(_) => Error::NoData { container },
        error => Error::Codec {
            container,
            reason: error.to_string(),
        },
    };
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut hint = Hint::new();
    hint.with_extension(container.extension());
    let mut reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(unreadable)?;
    let track = reader.default_track(TrackType::Audio).ok_or_else(|| Error::Codec {
        container,
        reason: "no track of it is a sound".into(),
    })?;
    let track = track.clone();
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err(Error::NoSamples);
    };
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(unreadable)?;
    let mut mixer = Mixer::new(limits);
    let ended = read_all(&mut *reader, decoder, track.id, &mut mixer);
    if ended.map_err(|stop| stop.into_error(container, &mixer))? {
        check_length(container, &track, &mixer)?;
    }
    mixer.finish()
}

/// Is what stops the reading of packets.
enum Stop {
    /// The bytes are wrong.
    Foreign(Foreign),
    /// The sound is not one that is taken.
    Ours(Error),
}

impl Stop {
    fn into_error(self, container: Container, mixer: &Mixer) -> Error {
        let reason = match self {
            Stop::Ours(error) => return error,
            Stop::Foreign(Foreign::IoError(_)) => "it ends within a packet".to_owned(),
            Stop::Foreign(Foreign::ResetRequired) => "a second sound follows the first".to_owned(),
            Stop::Foreign(error) => error.to_string(),
        };
        Error::Damaged {
            container,
            at_seconds: mixer.seconds(),
            reason,
        }
    }
}

/// Reads packets to the end, or to where no more is wanted, which gives `false`.
fn read_all(
    reader: &mut dyn FormatReader,
    mut decoder: Box<dyn AudioDecoder>,
    track: u32,
    mixer: &mut Mixer,
) -> Result<bool, Stop> {
    while let Some(packet) = reader.next_packet().map_err(Stop::Foreign)? {
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(Stop::Foreign)?;
        if !mixer.add(&decoded).map_err(Stop::Ours)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares what was decoded of a FLAC file with what its header says.
///
/// The length of a WAV file is looked at before, and the other forms count in packets.
fn check_length(container: Container, track: &Track, mixer: &Mixer) -> Result<(), Error> {
    let Some(declared) = track.num_frames.filter(|_| container == Container::Flac) else {
        return Ok(());
    };
    if (mixer.samples.len() as u64) < declared {
        return Err(Error::CutOff {
            container,
            found_seconds: mixer.seconds(),
            declared_seconds: declared as f64 / f64::from(mixer.rate_or_1()),
        });
    }
    Ok(())
}

/// Gathers packets into one channel.
struct Mixer<'a> {
    limits: &'a Limits,
    /// The rate and the number of channels, once a packet came.
    form: Option<(u32, usize)>,
    samples: Vec<f32>,
    interleaved: Vec<f32>,
}

impl<'a> Mixer<'a> {
    fn new(limits: &'a Limits) -> Self {
        Mixer {
            limits,
            form: None,
            samples: Vec::new(),
            interleaved: Vec::new(),
        }
    }

    fn rate_or_1(&self) -> u32 {
        self.form.map_or(1, |(rate, _)| rate)
    }

    fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate_or_1())
    }

    /// Adds a packet, and tells whether more is wanted.
    fn add(&mut self, packet: &GenericAudioBufferRef<'_>) -> Result<bool, Error> {
        let spec = packet.spec();
        let form = (spec.rate(), packet.num_planes());
        if packet.frames() == 0 || form.1 == 0 {
            return Ok(true);
        }
        let first = *self.form.get_or_insert(form);
        if first != form {
            return Err(Error::Changes { from: first, to: form });
        }
        let (rate, channels) = form;
        if !(LEAST_RATE..=MOST_RATE).contains(&rate) {
            return Err(Error::Rate {
                rate,
                least: LEAST_RATE,
                most: MOST_RATE,
            });
        }
        packet.copy_to_vec_interleaved(&mut self.interleaved);
        if channels == 1 {
            self.samples.extend_from_slice(&self.interleaved);
        } else {
            let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
            self.samples.extend(self.interleaved.chunks_exact(channels).map(mean));
        }
        let seconds = self.seconds();
        if self.limits.wanted_seconds.is_some_and(|wanted| seconds >= wanted) {
            return Ok(false);
        }
        if seconds > self.limits.seconds {
            return Err(Error::TooLong {
                limit_seconds: self.limits.seconds,
            });
        }
        Ok(true)
    }

    fn finish(self) -> Result<Sound, Error> {
        let Some((rate, _)) = self.form.filter(|_| !self.samples.is_empty()) else {
            return Err(Error::NoSamples);
        };
        if let Some(at) = self.samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::NotFinite { at });
        }
        Ok(Sound {
            rate,
            samples: self.samples,
        })
    }
}
