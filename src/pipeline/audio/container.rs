use std::fmt;

use super::Error;

/// Names the form of a sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Wav,
    Flac,
    Mp3,
    Ogg,
    /// MPEG-4, with AAC in it.
    Mp4,
    /// AAC in ADTS frames.
    Adts,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Container::Wav => "WAV",
            Container::Flac => "FLAC",
            Container::Mp3 => "MP3",
            Container::Ogg => "Ogg",
            Container::Mp4 => "MPEG-4",
            Container::Adts => "AAC",
        })
    }
}

impl Container {
    /// Tells from the first bytes what a file is; its name says nothing.
    ///
    /// Errors: an empty file, a file of another known form, a file of none.
    pub fn of(bytes: &[u8]) -> Result<Container, Error> {
        if bytes.is_empty() {
            return Err(Error::EmptyFile);
        }
        let at = |from: usize, text: &[u8]| bytes.get(from..).is_some_and(|rest| rest.starts_with(text));
        if at(0, b"RIFF") && at(8, b"WAVE") {
            return Ok(Container::Wav);
        }
        if at(0, b"fLaC") {
            return Ok(Container::Flac);
        }
        if at(0, b"OggS") {
            return Ok(Container::Ogg);
        }
        if at(4, b"ftyp") {
            return Ok(Container::Mp4);
        }
        if let Some(found) = other(bytes) {
            return Err(Error::WrongType { found });
        }
        let start = after_id3(bytes);
        if bytes[start..].starts_with(b"fLaC") {
            return Ok(Container::Flac);
        }
        frames(&bytes[start..])
            // Tags in front of frames may be padded.
            .or_else(|| (start > 0).then_some(Container::Mp3))
            .ok_or(Error::UnknownType)
    }

    /// Gives the ending that such files have, as a hint to the decoder.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Container::Wav => "wav",
            Container::Flac => "flac",
            Container::Mp3 => "mp3",
            Container::Ogg => "ogg",
            Container::Mp4 => "m4a",
            Container::Adts => "aac",
        }
    }
}

/// Tells an MPEG audio frame from an ADTS one: both start with eleven bits or twelve that are set, then two for the layer,
/// which ADTS has as zero.
fn frames(bytes: &[u8]) -> Option<Container> {
    match bytes {
        [0xff, second, third, ..] if second & 0xe0 == 0xe0 => {
            if second & 0xf6 == 0xf0 {
                return Some(Container::Adts);
            }
            let layer = (second >> 1) & 3;
            let bitrate = third >> 4;
            let rate = (third >> 2) & 3;
            (layer == 1 && bitrate != 15 && rate != 3).then_some(Container::Mp3)
        }
        _ => None,
    }
}

/// Gives where an ID3v2 tag in front ends; 0 where there is none.
fn after_id3(bytes: &[u8]) -> usize {
    let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = *bytes else {
        return 0;
    };
    let size = [a, b, c, d]
        .iter()
        .fold(0usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    (10 + size + footer).min(bytes.len())
}

/// Names what people mistake for a sound.
fn other(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: &[(usize, &[u8], &str)] = &[
        (0, b"\x89PNG", "a PNG picture"),
        (0, b"\xff\xd8\xff", "a JPEG picture"),
        (0, b"GIF8", "a GIF picture"),
        (8, b"WEBP", "a WebP picture"),
        (8, b"AVI ", "an AVI film"),
        (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
        (0, b"FORM", "an AIFF file"),
        (0, b"caff", "a Core Audio file"),
        (0, b"#!AMR", "an AMR recording"),
        (0, b"MThd", "a MIDI file, which has notes and no sound"),
        (0, b"RF64", "an RF64 file"),
        (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
        (0, b"%PDF", "a PDF document"),
        (0, b"PK\x03\x04", "a zip archive"),
        (0, b"\x1f\x8b", "a gzip archive"),
        (0, b"\x93NUMPY", "a NumPy array"),
    ];
    KNOWN
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
        .map(|(_, _, name)| *name)
        .or_else(|| is_text(bytes).then_some("text"))
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(256)];
    start
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let of = |bytes: &[u8]| Container::of(bytes);
        assert_eq!(of(b"RIFF\0\0\0\0WAVEfmt "), Ok(Container::Wav));
        assert_eq!(of(b"fLaC\0"), Ok(Container::Flac));
        assert_eq!(of(b"OggS\0"), Ok(Container::Ogg));
        assert_eq!(of(b"\0\0\0\x20ftypM4A "), Ok(Container::Mp4));
        assert_eq!(of(b"\xff\xfb\x90\x64"), Ok(Container::Mp3));
        assert_eq!(of(b"\xff\xf1\x50\x80"), Ok(Container::Adts));
        assert_eq!(of(b"ID3\x04\0\0\0\0\0\x02\0\0\xff\xfb\x90\x64"), Ok(Container::Mp3));
        assert_eq!(of(b"ID3\x04\0\0\0\0\0\0fLaC"), Ok(Container::Flac));
        // A tag that claims to be longer than the file.
        assert_eq!(of(b"ID3\x04\0\0\x7f\x7f\x7f\x7f\0"), Ok(Container::Mp3));
    }

    #[test]
    fn what_is_no_sound_is_called_by_its_name() {
        let of = |bytes: &[u8]| Container::of(bytes).unwrap_err().to_string();
        assert_eq!(of(b""), "the file is empty");
        let read = "which is not read as a sound; WAV, FLAC, MP3, Ogg Vorbis and AAC are";
        assert_eq!(of(b"\x89PNG\r\n\x1a\n"), format!("this is a PNG picture, {read}"));
        assert_eq!(of(b"hello there"), format!("this is text, {read}"));
        assert_eq!(
            of(b"\x1a\x45\xdf\xa3"),
            format!("this is a Matroska or WebM file, {read}")
        );
        assert_eq!(
            of(b"\0\x01\x02\x03\x04"),
            "this is no sound of a known form; WAV, FLAC, MP3, Ogg Vorbis and AAC are"
        );
    }
}
