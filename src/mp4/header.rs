//! What the `moov` of the init segment and that of the front have in common.

use crate::media::TrackKind;
use crate::mp4::boxes::{BoxWriter, Full};
use crate::time::TIMESCALE;

/// `ftyp` (section 4.3).
///
/// `iso6` is what fragments need (`default-base-is-moof`, signed composition offsets), `avc1`
/// and `mp41` name the sample entries. The front's own brand is `isom`, which VLC knows.
pub(super) fn ftyp(w: &mut BoxWriter<'_>, major: &[u8; 4]) -> Result<(), Full> {
    w.nested(b"ftyp", |w| {
        w.bytes(major)?;
        w.u32(0)?;
        w.bytes(b"isomiso6avc1mp41")
    })
}

/// `mvhd` (section 8.2.2), version 1; `creation` in seconds since 1904, `duration` in ticks.
pub(super) fn mvhd(w: &mut BoxWriter<'_>, creation: u64, duration: u64) -> Result<(), Full> {
    w.nested_full(b"mvhd", 1, 0, |w| {
        w.u64(creation)?;
        w.u64(creation)?;
        w.u32(TIMESCALE)?;
        w.u64(duration)?;
        w.u32(0x0001_0000)?; // rate 1.0
        w.u16(0x0100)?; // volume 1.0
        w.bytes(&[0; 10])?;
        w.bytes(&UNITY_MATRIX)?;
        w.bytes(&[0; 24])?;
        w.u32(TrackKind::Audio as u32 + 1) // next_track_ID
    })
}

/// What the boxes of a `trak` say besides its edits and its sample table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackHead {
    pub(super) track: TrackKind,
    /// Seconds since 1904.
    pub(super) creation: u64,
    /// Ticks shown, empty edits included.
    pub(super) duration: u64,
    /// Ticks of all its samples.
    pub(super) media_duration: u64,
    /// As shown, 16.16; 0 for audio.
    pub(super) width: u32,
    /// As shown, 16.16; 0 for audio.
    pub(super) height: u32,
}

/// `trak` (section 8.3.1) with what `edits` writes for `edts`, and `tables` inside its `stbl`.
pub(super) fn trak(
    w: &mut BoxWriter<'_>,
    head: &TrackHead,
    edits: impl FnOnce(&mut BoxWriter<'_>) -> Result<(), Full>,
    tables: impl FnOnce(&mut BoxWriter<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    w.nested(b"trak", |w| {
        tkhd(w, head)?;
        edits(w)?;
        w.nested(b"mdia", |w| {
            mdhd(w, head)?;
            hdlr(w, head.track)?;
            w.nested(b"minf", |w| {
                match head.track {
                    TrackKind::Video => w.nested_full(b"vmhd", 0, 1, |w| w.u64(0))?,
                    TrackKind::Audio => w.nested_full(b"smhd", 0, 0, |w| w.u32(0))?,
                }
                dinf(w)?;
                w.nested(b"stbl", tables)
            })
        })
    })
}

/// `tkhd` (section 8.3.2), version 1, enabled and in the movie.
fn tkhd(w: &mut BoxWriter<'_>, head: &TrackHead) -> Result<(), Full> {
    w.nested_full(b"tkhd", 1, 3, |w| {
        w.u64(head.creation)?;
        w.u64(head.creation)?;
        w.u32(head.track as u32)?;
        w.u32(0)?;
        w.u64(head.duration)?;
        w.u64(0)?;
        w.u32(0)?; // layer, alternate_group
        w.u16(match head.track {
            TrackKind::Video => 0,
            TrackKind::Audio => 0x0100, // volume 1.0
        })?;
        w.u16(0)?;
        w.bytes(&UNITY_MATRIX)?;
        w.u32(head.width)?;
        w.u32(head.height)
    })
}

/// `mdhd` (section 8.4.2), version 1, language undetermined.
fn mdhd(w: &mut BoxWriter<'_>, head: &TrackHead) -> Result<(), Full> {
    w.nested_full(b"mdhd", 1, 0, |w| {
        w.u64(head.creation)?;
        w.u64(head.creation)?;
        w.u32(TIMESCALE)?;
        w.u64(head.media_duration)?;
        w.u16(0x55C4)?; // "und"
        w.u16(0)
    })
}

/// `hdlr` (section 8.4.3).
fn hdlr(w: &mut BoxWriter<'_>, track: TrackKind) -> Result<(), Full> {
    let (kind, name) = match track {
        TrackKind::Video => (b"vide", b"VideoHandler\0"),
        TrackKind::Audio => (b"soun", b"SoundHandler\0"),
    };
    w.nested_full(b"hdlr", 0, 0, |w| {
        w.u32(0)?;
        w.bytes(kind)?;
        w.bytes(&[0; 12])?;
        w.bytes(name)
    })
}

/// `dinf` (section 8.7.1): the media is in this very file.
fn dinf(w: &mut BoxWriter<'_>) -> Result<(), Full> {
    w.nested(b"dinf", |w| {
        w.nested_full(b"dref", 0, 0, |w| {
            w.u32(1)?;
            w.nested_full(b"url ", 0, 1, |_| Ok(()))
        })
    })
}

const UNITY_MATRIX: [u8; 36] = [
    0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x40, 0, 0, 0,
];
