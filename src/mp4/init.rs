//! The init segment: `ftyp` and `moov` without samples (ISO/IEC 14496-12 section 8.8).
//!
//! The same descriptions give the same bytes: nothing in it depends on time.

use crate::limits::{INIT_SEGMENT_MAX, PARAMETER_SET_MAX};
use crate::media::{AudioDescription, ParameterSets, TrackKind, VideoDescription};
use crate::mp4::boxes::{BoxError, BoxView, BoxWriter, Boxes, Full};
use crate::mp4::header::{TrackHead, ftyp, mvhd, trak};
use crate::mp4::sample_entry::{AvcHead, EntryError, avc1, check_audio, mp4a, pixel_aspect};

/// `sample_flags` (section 8.8.3.1) of a sample that decoding cannot begin with.
pub(super) const FLAGS_DEPENDENT: u32 = 0x0101_0000;
/// `sample_flags` of a sample that needs no other.
pub(super) const FLAGS_SYNC: u32 = 0x0200_0000;

/// The `sample_flags` of `track` that need not be said in fragments.
pub(super) const fn default_flags(track: TrackKind) -> u32 {
    match track {
        TrackKind::Video => FLAGS_DEPENDENT,
        TrackKind::Audio => FLAGS_SYNC,
    }
}

/// Writes the init segment for the tracks given to `out` and returns its length, at most
/// [`INIT_SEGMENT_MAX`].
pub fn write_init(
    out: &mut [u8],
    video: Option<&VideoDescription>,
    audio: Option<&AudioDescription>,
) -> Result<usize, EntryError> {
    if video.is_none() && audio.is_none() {
        return Err(EntryError::NoTrack);
    }
    let video = match video {
        Some(video) => Some((video, AvcHead::of(video)?)),
        None => None,
    };
    if let Some(audio) = audio {
        check_audio(audio)?;
    }
    let mut w = BoxWriter::new(out);
    ftyp(&mut w, b"iso6")?;
    w.nested(b"moov", |w| {
        mvhd(w, 0, 0)?;
        if let Some((video, head)) = video {
            let (width, height) = shown_size(video);
            init_trak(w, TrackKind::Video, width, height, |w| {
                avc1(w, video, &head)
            })?;
        }
        if let Some(audio) = audio {
            init_trak(w, TrackKind::Audio, 0, 0, |w| mp4a(w, audio))?;
        }
        w.nested(b"mvex", |w| {
            if video.is_some() {
                trex(w, TrackKind::Video)?;
            }
            if audio.is_some() {
                trex(w, TrackKind::Audio)?;
            }
            Ok(())
        })
    })?;
    Ok(w.position())
}

// All parameter sets with their lengths, and a generous bound of everything else.
const _: () = {
    let sets = size_of::<ParameterSets>() / size_of::<heapless::Vec<u8, PARAMETER_SET_MAX>>();
    assert!((sets + 1) * (PARAMETER_SET_MAX + 2) + 2048 <= INIT_SEGMENT_MAX);
};

/// Width and height in 16.16 with square pixels, wider rather than less high (section 8.3.2).
fn shown_size(video: &VideoDescription) -> (u32, u32) {
    let (horizontal, vertical) = pixel_aspect(video);
    let width = (u64::from(video.width) << 16) * u64::from(horizontal) / u64::from(vertical);
    (
        u32::try_from(width).unwrap_or(u32::MAX),
        u32::from(video.height) << 16,
    )
}

/// A `trak` with its sample entry and empty tables.
fn init_trak(
    w: &mut BoxWriter<'_>,
    track: TrackKind,
    width: u32,
    height: u32,
    entry: impl FnOnce(&mut BoxWriter<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    let head = TrackHead {
        track,
        creation: 0,
        duration: 0,
        media_duration: 0,
        width,
        height,
    };
    trak(
        w,
        &head,
        |_| Ok(()),
        |w| {
            w.nested_full(b"stsd", 0, 0, |w| {
                w.u32(1)?;
                entry(w)
            })?;
            w.nested_full(b"stts", 0, 0, |w| w.u32(0))?;
            w.nested_full(b"stsc", 0, 0, |w| w.u32(0))?;
            w.nested_full(b"stsz", 0, 0, |w| w.u64(0))?;
            w.nested_full(b"stco", 0, 0, |w| w.u32(0))
        },
    )
}

/// `trex` (section 8.8.3).
fn trex(w: &mut BoxWriter<'_>, track: TrackKind) -> Result<(), Full> {
    w.nested_full(b"trex", 0, 0, |w| {
        w.u32(track as u32)?;
        w.u32(1)?; // default_sample_description_index
        w.u64(0)?; // default duration and size
        w.u32(default_flags(track))
    })
}

/// One track of an init segment, as the front repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitTrack<'a> {
    /// As shown, 16.16.
    pub(super) width: u32,
    /// As shown, 16.16.
    pub(super) height: u32,
    /// The whole `stsd` box.
    pub(super) stsd: &'a [u8],
}

/// Finds `track` in an init segment of ours.
pub(super) fn read_init_track(init: &[u8], track: TrackKind) -> Result<InitTrack<'_>, BoxError> {
    let mut traks = Boxes::new(init).find_box(b"moov")?.children();
    loop {
        let trak = traks.find_box(b"trak")?;
        let mut tkhd = trak.children().find_box(b"tkhd")?.fields();
        tkhd.bytes(4 + 8 + 8)?;
        if tkhd.u32()? != track as u32 {
            continue;
        }
        tkhd.bytes(4 + 8 + 8 + 8 + 36)?;
        let (width, height) = (tkhd.u32()?, tkhd.u32()?);
        let mut inner: BoxView<'_> = trak;
        for kind in [b"mdia", b"minf", b"stbl", b"stsd"] {
            inner = inner.children().find_box(kind)?;
        }
        return Ok(InitTrack {
            width,
            height,
            stsd: inner.bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> VideoDescription {
        let sps = [0x67, 66, 0xC0, 30, 0xDA];
        let mut sets = ParameterSets::default();
        sets.sps
            .push(heapless::Vec::from_slice(&sps).unwrap())
            .unwrap();
        sets.pps
            .push(heapless::Vec::from_slice(&[0x68, 0xEE]).unwrap())
            .unwrap();
        VideoDescription {
            sets,
            width: 704,
            height: 576,
            pixel_aspect: (12, 11),
            reorder_depth: 0,
        }
    }

    fn audio() -> AudioDescription {
        AudioDescription {
            config: heapless::Vec::from_slice(&[0x11, 0x90]).unwrap(),
            sample_rate: 48_000,
            channels: 2,
            frame_length: 1024,
        }
    }

    /// Types of all boxes in order, one more space for each that holds the next.
    fn walk(boxes: Boxes<'_>, depth: usize, lines: &mut Vec<String>) {
        for found in boxes {
            let found = found.unwrap();
            let kind = str::from_utf8(&found.kind).unwrap();
            lines.push(format!("{:depth$}{kind}", ""));
            if ["moov", "trak", "mdia", "minf", "stbl", "mvex"].contains(&kind) {
                walk(found.children(), depth + 1, lines);
            }
        }
    }

    fn structure(video: Option<&VideoDescription>, audio: Option<&AudioDescription>) -> String {
        let mut out = [0; INIT_SEGMENT_MAX];
        let len = write_init(&mut out, video, audio).unwrap();
        let mut lines = Vec::new();
        walk(Boxes::new(&out[..len]), 0, &mut lines);
        lines.join("\n")
    }

    const TRAK: &str = " trak\n  tkhd\n  mdia\n   mdhd\n   hdlr\n   minf\n    ?mhd\n    dinf\n    \
        stbl\n     stsd\n     stts\n     stsc\n     stsz\n     stco";

    #[test]
    fn each_track_has_its_trak_and_its_trex() {
        let (video_trak, audio_trak) = (TRAK.replace('?', "v"), TRAK.replace('?', "s"));
        let head = "ftyp\nmoov\n mvhd";
        assert_eq!(
            structure(Some(&video()), Some(&audio())),
            format!("{head}\n{video_trak}\n{audio_trak}\n mvex\n  trex\n  trex")
        );
        assert_eq!(
            structure(Some(&video()), None),
            format!("{head}\n{video_trak}\n mvex\n  trex")
        );
        assert_eq!(
            structure(None, Some(&audio())),
            format!("{head}\n{audio_trak}\n mvex\n  trex")
        );
    }

    #[test]
    fn a_track_is_read_back_for_the_front() {
        let mut out = [0; INIT_SEGMENT_MAX];
        let len = write_init(&mut out, Some(&video()), Some(&audio())).unwrap();
        let init = &out[..len];
        let found = read_init_track(init, TrackKind::Video).unwrap();
        assert_eq!(found.width, (704 << 16) * 12 / 11);
        assert_eq!(found.height, 576 << 16);
        let entry = |stsd: &[u8]| Boxes::new(&stsd[16..]).next().unwrap().unwrap().kind;
        assert_eq!(entry(found.stsd), *b"avc1");
        let found = read_init_track(init, TrackKind::Audio).unwrap();
        assert_eq!((found.width, found.height), (0, 0));
        assert_eq!(entry(found.stsd), *b"mp4a");
        for len in 0..len {
            let _never_a_panic = read_init_track(&init[..len], TrackKind::Audio);
        }

        let len = write_init(&mut out, Some(&video()), None).unwrap();
        assert!(matches!(
            read_init_track(&out[..len], TrackKind::Audio),
            Err(BoxError::Missing { kind, .. }) if kind == *b"trak"
        ));
    }

    #[test]
    fn the_largest_parameter_sets_fit() {
        let mut video = video();
        let set = heapless::Vec::from_slice(&[0x67, 66, 0xC0, 30, 0xDA]);
        let mut set: heapless::Vec<u8, PARAMETER_SET_MAX> = set.unwrap();
        set.resize(PARAMETER_SET_MAX, 0xFF).unwrap();
        video.sets.sps = core::iter::repeat_n(set.clone(), 2).collect();
        video.sets.pps = core::iter::repeat_n(set, 8).collect();
        let mut audio = audio();
        audio.config.resize(64, 0).unwrap();
        let mut out = [0; INIT_SEGMENT_MAX];
        let len = write_init(&mut out, Some(&video), Some(&audio)).unwrap();
        let error = write_init(&mut out[..len - 1], Some(&video), Some(&audio));
        assert!(matches!(error, Err(EntryError::Full(_))));
    }

    #[test]
    fn a_track_without_codec_data_is_refused() {
        let mut out = [0; INIT_SEGMENT_MAX];
        let mut mute = audio();
        mute.config.clear();
        assert_eq!(
            write_init(&mut out, None, Some(&mute)),
            Err(EntryError::NoAudioConfig)
        );
        assert_eq!(write_init(&mut out, None, None), Err(EntryError::NoTrack));
        let mut blind = video();
        blind.sets.pps.clear();
        assert_eq!(
            write_init(&mut out, Some(&blind), None),
            Err(EntryError::NoParameterSets)
        );
    }
}
