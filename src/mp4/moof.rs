//! Reads the head of a fragment of ours back: `moof` and the header of its `mdat`.
//!
//! Only what [`super::fragment`] writes is read, and all of it is checked: when [`read_moof`]
//! returned a view, its runs fill the `mdat` exactly and its samples can be walked.

use core::fmt;

use crate::limits::FRAGMENT_SAMPLES_MAX;
use crate::media::{Sample, TrackKind};
use crate::mp4::boxes::{BoxError, BoxView, Boxes, Fields};
use crate::mp4::fragment::{tfhd, trun};
use crate::mp4::init::{FLAGS_SYNC, default_flags};
use crate::time::Ticks;

/// Why bytes are not the head of a fragment of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoofError {
    /// The boxes are broken.
    Box(BoxError),
    /// The field before `at` has a value that we never write.
    NotOurs {
        /// Position from the first byte of `moof`.
        at: usize,
    },
    /// Runs and `mdat` do not fit each other.
    MdatLength,
}

impl fmt::Display for MoofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box(error) => error.fmt(f),
            Self::NotOurs { at } => write!(f, "byte {at}: a value before it is not ours"),
            Self::MdatLength => write!(f, "samples do not fill the mdat"),
        }
    }
}

impl core::error::Error for MoofError {}

impl From<BoxError> for MoofError {
    fn from(error: BoxError) -> Self {
        Self::Box(error)
    }
}

/// The head of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoofView<'a> {
    /// Number of the fragment (`mfhd`).
    pub sequence: u32,
    /// Bytes before the first sample: `moof` and the header of `mdat`.
    pub head_length: u32,
    /// Bytes of all samples: the payload of `mdat`.
    pub mdat_length: u32,
    /// Video before audio, each with at least one sample.
    pub runs: heapless::Vec<RunView<'a>, 2>,
}

impl<'a> MoofView<'a> {
    /// The samples of `track`, if there are any.
    pub fn run(&self, track: TrackKind) -> Option<&RunView<'a>> {
        self.runs.iter().find(|run| run.track == track)
    }
}

/// The samples of one track in a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunView<'a> {
    /// Their track.
    pub track: TrackKind,
    /// Decoding time of the first, on the camera's timeline.
    pub base_decode_time: Ticks,
    /// Where the bytes of the first begin, from the first byte of `moof`; the others follow.
    pub data_offset: u32,
    /// How many there are.
    pub samples: u32,
    flags: u32,
    shared_duration: u32,
    first_flags: u32,
    entries: &'a [u8],
}

impl<'a> RunView<'a> {
    /// The samples in decoding order.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<'a> {
        let run = *self;
        run.entries
            .chunks_exact(run.entry_length())
            .enumerate()
            .map(move |(index, entry)| run.sample(index, entry))
    }

    /// Bytes of all samples.
    fn bytes(&self) -> u64 {
        self.samples().map(|sample| u64::from(sample.size)).sum()
    }

    const fn has(&self, field: u32) -> bool {
        self.flags & field != 0
    }

    /// Bytes of one sample's fields, at least 4.
    const fn entry_length(&self) -> usize {
        let optional = trun::DURATION | trun::FLAGS | trun::COMPOSITION_OFFSET;
        4 * (1 + (self.flags & optional).count_ones() as usize)
    }

    fn sample(&self, index: usize, entry: &[u8]) -> Sample {
        let mut words = entry.as_chunks().0.iter().copied().map(u32::from_be_bytes);
        let mut word = |field, otherwise| {
            self.has(field)
                .then(|| words.next())
                .flatten()
                .unwrap_or(otherwise)
        };
        let duration = word(trun::DURATION, self.shared_duration);
        let size = word(trun::SIZE, 0);
        let usual = if index == 0 {
            self.first_flags
        } else {
            default_flags(self.track)
        };
        Sample {
            size,
            duration,
            sync: word(trun::FLAGS, usual) == FLAGS_SYNC,
            composition_offset: word(trun::COMPOSITION_OFFSET, 0).cast_signed(),
        }
    }
}

/// Reads `head`, which begins with a `moof` and reaches at least over the header of its `mdat`.
///
/// Allocates nothing.
pub fn read_moof(head: &[u8]) -> Result<MoofView<'_>, MoofError> {
    let moof = Boxes::new(head).find_box(b"moof")?;
    let mut mdat = Fields::new(head);
    mdat.bytes(moof.bytes.len())?;
    let (size, kind) = (mdat.u32()?, mdat.array()?);
    let mdat_length = size.checked_sub(8).ok_or(MoofError::MdatLength)?;
    let head_length = u32::try_from(mdat.position()).map_err(|_| MoofError::MdatLength)?;
    if moof.at != 0 || kind != *b"mdat" {
        return Err(MoofError::NotOurs {
            at: mdat.position(),
        });
    }
    let mut children = moof.children();
    let mut mfhd = children.find_box(b"mfhd")?.fields();
    expect(&mut mfhd, 0)?;
    let mut view = MoofView {
        sequence: mfhd.u32()?,
        head_length,
        mdat_length,
        runs: heapless::Vec::new(),
    };
    let mut offset = u64::from(head_length);
    for traf in children {
        let traf = traf?;
        let run = read_traf(&traf)?;
        let ordered = view
            .runs
            .iter()
            .all(|before| (before.track as u32) < run.track as u32);
        if !ordered || view.runs.push(run).is_err() {
            return Err(MoofError::NotOurs { at: traf.at });
        }
        if u64::from(run.data_offset) != offset {
            return Err(MoofError::MdatLength);
        }
        offset += run.bytes();
    }
    if offset != u64::from(head_length) + u64::from(mdat_length) {
        return Err(MoofError::MdatLength);
    }
    Ok(view)
}

fn read_traf<'a>(traf: &BoxView<'a>) -> Result<RunView<'a>, MoofError> {
    let mut children = traf.children();
    let mut header = children.find_box(b"tfhd")?.fields();
    let header_flags = header.u32()?;
    let track = match header.u32()? {
        1 => TrackKind::Video,
        2 => TrackKind::Audio,
        _ => {
            return Err(MoofError::NotOurs {
                at: header.position(),
            });
        }
    };
    let shared_duration = match header_flags & !tfhd::DEFAULT_BASE_IS_MOOF {
        0 => 0,
        tfhd::DEFAULT_DURATION => header.u32()?,
        _ => {
            return Err(MoofError::NotOurs {
                at: header.position(),
            });
        }
    };
    let mut time = children.find_box(b"tfdt")?.fields();
    expect(&mut time, 1 << 24)?;
    let base_decode_time = Ticks(time.u64()?);

    let mut fields = children.find_box(b"trun")?.fields();
    let flags = fields.u32()?;
    let not_ours = MoofError::NotOurs {
        at: fields.position(),
    };
    let flags = flags.checked_sub(1 << 24).ok_or(not_ours)?;
    let required = trun::DATA_OFFSET | trun::SIZE;
    let optional = trun::FIRST_FLAGS | trun::DURATION | trun::FLAGS | trun::COMPOSITION_OFFSET;
    if flags & required != required || flags & !(required | optional) != 0 {
        return Err(not_ours);
    }
    let (samples, data_offset) = (fields.u32()?, fields.u32()?);
    let first_flags = if flags & trun::FIRST_FLAGS == 0 {
        default_flags(track)
    } else {
        fields.u32()?
    };
    let run = RunView {
        track,
        base_decode_time,
        data_offset,
        samples,
        flags,
        shared_duration,
        first_flags,
        entries: fields.rest(),
    };
    let count = usize::try_from(samples).unwrap_or(usize::MAX);
    let fits = (1..=FRAGMENT_SAMPLES_MAX).contains(&count)
        && run.entries.len() == count * run.entry_length();
    fits.then_some(run).ok_or(MoofError::NotOurs {
        at: fields.position(),
    })
}

/// Version and flags that are always the same.
fn expect(fields: &mut Fields<'_>, version_and_flags: u32) -> Result<(), MoofError> {
    if fields.u32()? == version_and_flags {
        return Ok(());
    }
    Err(MoofError::NotOurs {
        at: fields.position(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::fragment::{TrackRun, write_moof};

    fn runs() -> [(TrackKind, u64, Vec<Sample>); 2] {
        let sample = |size, duration, composition_offset, sync| Sample {
            size,
            duration,
            composition_offset,
            sync,
        };
        let video = vec![
            sample(900, 3600, 3600, true),
            sample(80, 3600, 7200, false),
            sample(0, 3601, -3600, false),
        ];
        let audio = vec![sample(300, 1920, 0, true), sample(299, 1920, 0, true)];
        [
            (TrackKind::Video, u64::MAX, video),
            (TrackKind::Audio, 7, audio),
        ]
    }

    fn head() -> Vec<u8> {
        let owned = runs();
        let runs = owned.each_ref().map(|(track, at, samples)| TrackRun {
            track: *track,
            base_decode_time: Ticks(*at),
            samples,
        });
        let mut out = [0; 512];
        let len = write_moof(&mut out, 9, &runs).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let head = head();
        let view = read_moof(&head).unwrap();
        assert_eq!(view.sequence, 9);
        assert_eq!(usize::try_from(view.head_length), Ok(head.len()));
        assert_eq!(view.mdat_length, 900 + 80 + 300 + 299);
        for (run, (track, at, samples)) in view.runs.iter().zip(runs()) {
            assert_eq!((run.track, run.base_decode_time), (track, Ticks(at)));
            assert_eq!(usize::try_from(run.samples), Ok(samples.len()));
            assert_eq!(run.samples().collect::<Vec<_>>(), samples);
        }
        let [video, audio] = &view.runs[..] else {
            panic!("{view:?}")
        };
        assert_eq!(video.data_offset, view.head_length);
        assert_eq!(audio.data_offset, view.head_length + 980);
    }

    #[test]
    fn what_follows_the_head_does_not_matter() {
        let head = head();
        let longer = [&head[..], b"samples"].concat();
        assert_eq!(read_moof(&head), read_moof(&longer));
    }

    #[test]
    fn a_head_cut_short_anywhere_is_an_error() {
        let head = head();
        for len in 0..head.len() {
            let error = read_moof(&head[..len]).unwrap_err();
            assert!(matches!(error, MoofError::Box(_)), "{len}: {error}");
        }
    }

    #[test]
    fn a_bit_turned_over_is_an_error_or_another_well_formed_head() {
        let good = head();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 0x80 >> (at % 8);
            if let Ok(view) = read_moof(&bad) {
                let bytes: u64 = view.runs.iter().map(RunView::bytes).sum();
                assert_eq!(bytes, u64::from(view.mdat_length), "bit {at}");
            }
        }
    }

    #[test]
    fn heads_that_we_never_write_are_refused() {
        let at = |kind: &[u8; 4]| head().windows(4).position(|bytes| bytes == kind).unwrap();
        let not_ours = |at| MoofError::NotOurs { at };
        let (mfhd, tfhd, tfdt, trun) = (at(b"mfhd"), at(b"tfhd"), at(b"tfdt"), at(b"trun"));
        let cases = [
            ("mfhd version", mfhd + 4, 1, not_ours(mfhd + 8)),
            ("track 3", tfhd + 11, 3, not_ours(tfhd + 12)),
            ("default size", tfhd + 7, 0x18, not_ours(tfhd + 12)),
            ("tfdt version", tfdt + 4, 0, not_ours(tfdt + 8)),
            ("trun version", trun + 4, 0, not_ours(trun + 8)),
            ("no sizes", trun + 6, 0x0D, not_ours(trun + 8)),
            ("no sample", trun + 11, 0, not_ours(trun + 20)),
            ("2 samples", trun + 11, 2, not_ours(trun + 20)),
            ("data offset", trun + 15, 0, MoofError::MdatLength),
            ("mdat longer", head().len() - 5, 0xFF, MoofError::MdatLength),
            ("mdat shorter", head().len() - 6, 1, MoofError::MdatLength),
            ("mdat type", head().len() - 1, 0, not_ours(head().len())),
        ];
        for (what, at, value, error) in cases {
            let mut bad = head();
            bad[at] = value;
            assert_eq!(read_moof(&bad), Err(error), "{what}");
        }
    }
}
