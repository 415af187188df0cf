//! One track of the front: its samples and chunks, and `stbl` made of them.

use crate::limits::SEGMENT_SAMPLES_MAX;
use crate::media::Sample;
use crate::mp4::boxes::{BoxWriter, Full};
use crate::mp4::moof::RunView;

/// Bytes a sample takes at most in `stbl`: an entry of its own in `stts`, `ctts`, `stss`,
/// `stsc`, `stsz` and `stco`.
pub(super) const SAMPLE_BYTES_MAX: usize = 8 + 8 + 4 + 12 + 4 + 4;

/// Why a run cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddError {
    TooManySamples,
    /// It begins before the last sample, or later than 32 bits can say.
    Time,
}

/// The samples of one track in one fragment.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// Of its first byte, from the first byte of the ring's part of the blob.
    offset: u32,
    samples: u32,
}

/// Samples and chunks of one track. Its memory is taken once; what is not used of it costs
/// address space only.
#[derive(Debug)]
pub(super) struct SampleTable {
    /// Durations are differences of decoding times, also where a run goes on after a hole.
    samples: Vec<Sample>,
    chunks: Vec<Chunk>,
    first: u64,
    last: u64,
}

impl SampleTable {
    pub(super) fn new() -> Self {
        Self {
            samples: Vec::with_capacity(SEGMENT_SAMPLES_MAX),
            chunks: Vec::with_capacity(SEGMENT_SAMPLES_MAX),
            first: 0,
            last: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.samples.clear();
        self.chunks.clear();
        (self.first, self.last) = (0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Room for samples and for chunks, which never grows.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> (usize, usize) {
        (self.samples.capacity(), self.chunks.capacity())
    }

    /// Decoding time of the first sample.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Presentation minus decoding time of the first sample.
    pub(super) fn first_offset(&self) -> i32 {
        self.samples
            .first()
            .map_or(0, |sample| sample.composition_offset)
    }

    /// Ticks of all samples.
    pub(super) fn duration(&self) -> u64 {
        let of_last = self.samples.last().map_or(0, |sample| sample.duration);
        self.last - self.first + u64::from(of_last)
    }

    /// Lets the last sample end at decoding time `end`, or at once where that has passed.
    pub(super) fn end_at(&mut self, end: u64) {
        if let Some(sample) = self.samples.last_mut() {
            sample.duration = u32::try_from(end.saturating_sub(self.last)).unwrap_or(u32::MAX);
        }
    }

    /// Adds the samples of one fragment; `offset` is that of their first byte in the ring's
    /// part of the blob.
    pub(super) fn add(&mut self, run: &RunView<'_>, offset: u32) -> Result<(), AddError> {
        // With room for the samples there is room for their chunk, which has at least one.
        let room = SEGMENT_SAMPLES_MAX - self.samples.len();
        if usize::try_from(run.samples).map_or(true, |samples| samples > room) {
            return Err(AddError::TooManySamples);
        }
        let mut at = run.base_decode_time.0;
        if let Some(before) = self.samples.last_mut() {
            let since = at
                .checked_sub(self.last)
                .and_then(|ticks| u32::try_from(ticks).ok());
            before.duration = since.ok_or(AddError::Time)?;
        } else {
            self.first = at;
        }
        for sample in run.samples() {
            self.last = at;
            self.samples.push(sample);
            at = at
                .checked_add(sample.duration.into())
                .ok_or(AddError::Time)?;
        }
        self.chunks.push(Chunk {
            offset,
            samples: run.samples,
        });
        Ok(())
    }

    /// The boxes of `stbl` (section 8.5.1) behind the given `stsd`. `base` is the position of the
    /// ring's first byte in the blob.
    pub(super) fn write(&self, w: &mut BoxWriter<'_>, stsd: &[u8], base: u32) -> Result<(), Full> {
        w.bytes(stsd)?;
        w.nested_full(b"stts", 0, 0, |w| {
            runs(w, self.samples.iter().map(|sample| sample.duration))
        })?;
        if self
            .samples
            .iter()
            .any(|sample| sample.composition_offset != 0)
        {
            // Version 1: composition offsets are signed.
            w.nested_full(b"ctts", 1, 0, |w| {
                let offsets = self.samples.iter().map(|sample| sample.composition_offset);
                runs(w, offsets.map(i32::cast_unsigned))
            })?;
        }
        if !self.samples.iter().all(|sample| sample.sync) {
            w.nested_full(b"stss", 0, 0, |w| self.sync_samples(w))?;
        }
        w.nested_full(b"stsc", 0, 0, |w| self.samples_per_chunk(w))?;
        w.nested_full(b"stsz", 0, 0, |w| {
            w.u32(0)?;
            w.u32(length(w, &self.samples)?)?;
            self.samples
                .iter()
                .try_for_each(|sample| w.u32(sample.size))
        })?;
        w.nested_full(b"stco", 0, 0, |w| {
            w.u32(length(w, &self.chunks)?)?;
            let mut offsets = self
                .chunks
                .iter()
                .map(|chunk| chunk.offset.saturating_add(base));
            offsets.try_for_each(|offset| w.u32(offset))
        })
    }

    /// `stss`: numbers of the sync samples, from 1.
    fn sync_samples(&self, w: &mut BoxWriter<'_>) -> Result<(), Full> {
        counted(w, |w| {
            let mut entries = 0;
            for (number, sample) in (1..).zip(&self.samples) {
                if sample.sync {
                    w.u32(number)?;
                    entries += 1;
                }
            }
            Ok(entries)
        })
    }

    /// `stsc`: one entry for each chunk whose number of samples is not its predecessor's.
    fn samples_per_chunk(&self, w: &mut BoxWriter<'_>) -> Result<(), Full> {
        counted(w, |w| {
            let (mut entries, mut before) = (0, 0);
            for (number, chunk) in (1..).zip(&self.chunks) {
                if chunk.samples != before {
                    w.u32(number)?;
                    w.u32(chunk.samples)?;
                    w.u32(1)?; // sample_description_index
                    entries += 1;
                    before = chunk.samples;
                }
            }
            Ok(entries)
        })
    }
}

/// Runs of equal values, each with its length before it; their number first.
fn runs(w: &mut BoxWriter<'_>, mut values: impl Iterator<Item = u32>) -> Result<(), Full> {
    counted(w, |w| {
        let mut entries = 0;
        let Some(mut value) = values.next() else {
            return Ok(entries);
        };
        let mut length = 1;
        for next in values.map(Some).chain([None]) {
            if next == Some(value) {
                length += 1;
                continue;
            }
            w.u32(length)?;
            w.u32(value)?;
            entries += 1;
            (value, length) = (next.unwrap_or_default(), 1);
        }
        Ok(entries)
    })
}

/// The number of entries, which `entries` returns, and the entries.
fn counted(
    w: &mut BoxWriter<'_>,
    entries: impl FnOnce(&mut BoxWriter<'_>) -> Result<u32, Full>,
) -> Result<(), Full> {
    let at = w.position();
    w.u32(0)?;
    let number = entries(w)?;
    w.patch_u32(at, number)
}

/// The length of a table, of at most [`SEGMENT_SAMPLES_MAX`] entries.
fn length<T>(w: &BoxWriter<'_>, table: &[T]) -> Result<u32, Full> {
    u32::try_from(table.len()).map_err(|_| Full { at: w.position() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_run() {
        let cases: [(&[u32], &[u32]); 5] = [
            (&[], &[0]),
            (&[7], &[1, 1, 7]),
            (&[0, 0], &[1, 2, 0]),
            (&[7, 7, 0, 7], &[3, 2, 7, 1, 0, 1, 7]),
            (&[1, 2, 2, 2], &[2, 1, 1, 3, 2]),
        ];
        for (values, expected) in cases {
            let mut out = [0; 64];
            let mut w = BoxWriter::new(&mut out);
            runs(&mut w, values.iter().copied()).unwrap();
            let len = w.position();
            let words = out[..len].as_chunks().0.iter();
            let found: Vec<_> = words.map(|word| u32::from_be_bytes(*word)).collect();
            assert_eq!(found, expected, "{values:?}");
        }
    }
}
