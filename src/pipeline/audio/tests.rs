//! Against what the reference implementations make of the same sounds (fixtures/sound/make.py), and against files that mean
//! harm.

use std::path::Path;

use super::*;
use crate::gpuxfile::{Edge, Mel, MelLog, MelScale};
use crate::tensor::Tensor;
use crate::tensor::npz::Archive;

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sound");
    std::fs::read(folder.join(name)).unwrap()
}

fn sound(name: &str) -> Sound {
    decode(&file(name), &Limits::default()).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    decode(bytes, &Limits::default()).unwrap_err().to_string()
}

fn golden(name: &str) -> Tensor {
    let bytes = file("golden.npz");
    Archive::open(&bytes).unwrap().tensor(name).unwrap()
}

/// Compares all values, each within `tolerance`.
fn agree(name: &str, (frames, found): &(usize, Vec<f32>), tolerance: f32) {
    let expected = golden(name);
    assert_eq!(expected.shape().last(), Some(frames), "{name}");
    close(name, found, expected.elements::<f32>().unwrap(), tolerance);
}

fn close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (found - expected).abs())
        .fold(0f32, f32::max);
    assert!(worst < tolerance, "{name} is off by {worst}");
}

#[test]
fn log_mel_is_what_transformers_whisper_feature_extractor_gives() {
    let vowel = sound("vowel.wav");
    let plan = |bands| MelPlan::new(&Mel::whisper(bands), 16_000);
    let second = &vowel.samples;
    agree("whisper_80", &plan(80).log(second), 1e-5);
    agree("whisper_128", &plan(128).log(second), 1e-5);
    agree("whisper_odd", &plan(80).log(&vowel.samples[4000..5001]), 1e-5);

    let mut half_minute = vowel.samples.clone();
    half_minute.resize(480_000, 0.0);
    let (frames, all) = plan(80).log(&half_minute);
    assert_eq!(frames, 3_000);
    let some: Vec<f32> = all.iter().step_by(25).copied().collect();
    agree("whisper_30s", &(120, some), 1e-5);
}

#[test]
fn decibels_and_cepstra_are_what_the_reference_gives() {
    let mel = Mel {
        size: 512,
        hop: 128,
        bands: 40,
        low: 100.0,
        high: Some(7_000.0),
        scale: MelScale::Htk,
        even: false,
        edge: Edge::Silence,
        log: MelLog::Decibel,
        range: Some(80.0),
    };
    let plan = MelPlan::new(&mel, 16_000);
    let vowel = sound("vowel.wav");
    agree("decibel", &plan.log(&vowel.samples), 1e-3);
    agree("mfcc", &plan.cepstrum(&vowel.samples, 13), 1e-3);
}

#[test]
fn resampling_is_the_windowed_sinc_of_the_specification() {
    let samples = &sound("vowel.wav").samples[..4_000];
    for (name, rate) in [("up", 8_000), ("down", 44_100)] {
        let sound = Sound {
            rate,
            samples: samples.to_vec(),
        };
        let expected = golden(name);
        close(
            name,
            &sound.resampled(16_000).samples,
            expected.elements().unwrap(),
            2e-6,
        );
    }
}

#[test]
fn every_form_of_wav_and_flac_gives_the_samples_that_went_in() {
    let vowel = sound("vowel.wav");
    assert_eq!((vowel.rate, vowel.samples.len()), (16_000, 16_000));
    assert_eq!(sound("vowel.flac"), vowel);
    for (name, tolerance) in [
        ("vowel-float.wav", 1e-7),
        ("vowel-wide.wav", 1e-6),
        ("vowel-bytes.wav", 1.0 / 127.0),
    ] {
        let found = sound(name);
        assert_eq!(found.rate, 16_000);
        close(name, &found.samples, &vowel.samples[..4_000], tolerance);
    }
}

#[test]
fn mp3_vorbis_and_aac_give_nearly_the_samples_that_went_in() {
    let vowel = sound("vowel.wav").samples;
    for name in ["vowel.mp3", "vowel.ogg", "vowel.m4a", "vowel.aac"] {
        let found = sound(name);
        assert_eq!(found.rate, 16_000, "{name}");
        // Encoders put silence in front, which not every form says the length of.
        let noise = (0..=3_000).map(|delay| noise_at(&vowel, &found.samples, delay));
        let noise = noise.fold(f64::MAX, f64::min);
        assert!(noise < 0.02, "{name}: the noise is {noise} of the sound");
    }
}

/// Gives the energy of the difference as a part of the energy of the sound, where the second starts `delay` later.
fn noise_at(sound: &[f32], found: &[f32], delay: usize) -> f64 {
    let (mut energy, mut noise) = (0f64, 0f64);
    for at in (2_000..10_000).step_by(7) {
        energy += f64::from(sound[at].powi(2));
        noise += f64::from((sound[at] - found[at + delay]).powi(2));
    }
    noise / energy
}

#[test]
fn two_channels_at_8_khz_become_their_mean_at_16_khz() {
    let stereo = sound("stereo-8k.wav");
    assert_eq!((stereo.rate, stereo.samples.len()), (8_000, 8_000));
    let vowel = sound("vowel.wav");
    let halved: Vec<f32> = vowel.samples.iter().step_by(2).map(|x| x * 0.75).collect();
    close("stereo", &stereo.samples, &halved, 1e-4);
    assert_eq!(stereo.resampled(16_000).samples.len(), 16_000);
}

#[test]
fn decoding_stops_where_no_more_is_wanted() {
    let limits = Limits {
        wanted_seconds: Some(0.1),
        ..Limits::default()
    };
    let part = decode(&file("vowel.mp3"), &limits).unwrap();
    assert!((1_600..8_000).contains(&part.samples.len()), "{}", part.samples.len());
    let short = Limits {
        seconds: 0.5,
        wanted_seconds: None,
    };
    let error = decode(&file("vowel.flac"), &short).unwrap_err();
    assert_eq!(error.to_string(), "the sound is longer than the limit of 0.5 s");
}

#[test]
fn files_that_are_no_sound_have_one_clear_error() {
    let read = "which is not read as a sound; WAV, FLAC, MP3, Ogg Vorbis and AAC are";
    assert_eq!(refused(b""), "the file is empty");
    assert_eq!(
        refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        format!("this is a PNG picture, {read}")
    );
    assert_eq!(
        refused(&[0x80; 100]),
        "this is no sound of a known form; WAV, FLAC, MP3, Ogg Vorbis and AAC are"
    );
    let opus = refused(&file("opus.ogg"));
    assert!(
        opus.starts_with("the Ogg file holds no sound that can be decoded ("),
        "{opus}"
    );
}

#[test]
fn a_sound_of_zero_length_has_one_clear_error() {
    let header = &file("vowel.wav")[..44];
    let mut empty = header.to_vec();
    empty[4..8].copy_from_slice(&36u32.to_le_bytes());
    empty[40..44].copy_from_slice(&0u32.to_le_bytes());
    assert_eq!(refused(&empty), "the sound has a length of zero");
}

#[test]
fn a_sound_that_is_cut_off_has_one_clear_error() {
    let cut = |name: &str, keep: usize| refused(&file(name)[..keep]);
    assert_eq!(
        cut("vowel.wav", 16_044),
        "the WAV file is cut off: it has 0.50 s of the 1.00 s that it declares"
    );
    let flac = cut("vowel.flac", 14_000);
    assert!(flac.starts_with("the FLAC file is "), "{flac}");
    assert_eq!(cut("vowel-wide.wav", 60), "the WAV file ends within its header");
    for name in [
        "vowel.wav",
        "vowel.flac",
        "vowel.mp3",
        "vowel.ogg",
        "vowel.m4a",
        "vowel.aac",
    ] {
        for keep in [1, 12, 30, 60] {
            assert!(!cut(name, keep).is_empty(), "{name} cut to {keep} bytes");
        }
    }
}

#[test]
fn a_recording_whose_header_does_not_know_its_length_is_read_to_its_end() {
    let mut bytes = file("vowel.wav");
    for declared in [u32::MAX, u32::MAX - 36, 0x7fff_ffff] {
        bytes[4..8].copy_from_slice(&declared.to_le_bytes());
        bytes[40..44].copy_from_slice(&declared.to_le_bytes());
        assert_eq!(
            decode(&bytes, &Limits::default()).unwrap(),
            sound("vowel.wav"),
            "{declared:#x}"
        );
    }
}

#[test]
fn samples_that_are_no_numbers_are_refused() {
    let mut bytes = file("vowel-float.wav");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(refused(&bytes), "sample 3999 of the sound is not a finite number");
}

#[test]
fn damaged_sounds_end_in_an_answer_or_an_error() {
    let mut random = fastrand::Rng::with_seed(6);
    let limits = Limits {
        seconds: 60.0,
        wanted_seconds: None,
    };
    for name in [
        "vowel.wav",
        "vowel.flac",
        "vowel.mp3",
        "vowel.ogg",
        "vowel.m4a",
        "vowel.aac",
    ] {
        let whole = file(name);
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..12) {
                let at = random.usize(..bytes.len());
                // Headers are where most harm is done.
                let at = if random.bool() { at } else { at % 120 };
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(bytes.len() / 2..=bytes.len()));
            if let Err(error) = decode(&bytes, &limits) {
                assert!(!error.to_string().contains('\n'), "{name}: {error}");
            }
        }
    }
}
