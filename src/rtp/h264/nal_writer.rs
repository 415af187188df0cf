//! NAL units of H.264 on their way into the buffer of their access unit.

use super::access_unit::Unit;
use super::error::DepacketizeError;
use crate::media::{ParameterSet, ParameterSets};
use crate::rtp::sps::SpsError;
use crate::rtp::{AccessUnitBuffer, nal, sets};

/// Writes slices and SEI with their lengths, keeps parameter sets, leaves out all else.
#[derive(Clone, Debug)]
pub(super) struct NalWriter {
    pub(super) sets: ParameterSets,
    /// [`NalWriter::sets`] have changed.
    pub(super) new_parameters: bool,
    open: Option<OpenNal>,
    /// The parameter set in progress, if `open` is one.
    set: ParameterSet,
}

/// The NAL unit in progress.
#[derive(Clone, Debug)]
struct OpenNal {
    to: Destination,
    /// Zero bytes at its end so far: not part of it if it ends there.
    zeros: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// Into the buffer; its length field is at `at`.
    Sample { at: usize },
    /// Into [`NalWriter::set`].
    Set,
    /// Not kept.
    Nowhere,
}

impl NalWriter {
    /// With the parameter sets of the SDP; what is none of them is left out.
    pub(super) fn new(sdp: &ParameterSets) -> Self {
        let mut sets = ParameterSets::default();
        for unit in sdp
            .sps
            .iter()
            .chain(&sdp.pps)
            .flat_map(|set| nal::units(set))
        {
            // What is no parameter set is as good as absent.
            let _: Result<bool, SpsError> = sets::keep(&mut sets, unit);
        }
        Self {
            sets,
            new_parameters: false,
            open: None,
            set: ParameterSet::new(),
        }
    }

    /// A NAL unit is in progress.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Forgets the NAL unit in progress, if there is one. True: its access unit lacks it.
    pub(super) fn forget(&mut self) -> bool {
        let open = self.open.take().map(|nal| nal.to);
        matches!(open, Some(Destination::Sample { .. }))
    }

    /// Goes on with the NAL unit in progress; if there is none, `data` begins with its header.
    /// At a start code the next one begins (Amatek, V380).
    pub(super) fn write(
        &mut self,
        mut data: &[u8],
        unit: &mut Unit,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        loop {
            let Some(nal) = &self.open else {
                let Some((header, rest)) = data.split_first() else {
                    return Ok(());
                };
                self.begin(*header, rest, unit, out)?;
                data = rest;
                continue;
            };
            let Some(one) = nal::find_start_code(nal.zeros, data) else {
                return self.extend(data, out);
            };
            self.extend(data.get(..one).unwrap_or_default(), out)?;
            self.end(out)?;
            data = data.get(one + 1..).unwrap_or_default();
        }
    }

    /// Begins a NAL unit; `rest` is what is there of its payload.
    pub(super) fn begin(
        &mut self,
        header: u8,
        rest: &[u8],
        unit: &mut Unit,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let kind = nal::kind(header);
        let nal = self.open.insert(OpenNal {
            to: Destination::Nowhere,
            zeros: usize::from(header == 0),
        });
        match kind {
            nal::SPS | nal::PPS => {
                self.set.clear();
                push_set(&mut self.set, &[header])?;
                nal.to = Destination::Set;
            }
            0 | nal::DELIMITER..=nal::FILLER | 24.. => {}
            _ => {
                unit.add_nal(header, rest);
                if !unit.damaged {
                    let at = out.len();
                    out.append(&[0, 0, 0, 0, header])?;
                    nal.to = Destination::Sample { at };
                }
            }
        }
        Ok(())
    }

    fn extend(
        &mut self,
        data: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let Some(nal) = &mut self.open else {
            return Ok(());
        };
        match nal.to {
            Destination::Sample { .. } => out.append(data)?,
            Destination::Set => push_set(&mut self.set, data)?,
            Destination::Nowhere => {}
        }
        nal.zeros = nal::zeros_at_end(nal.zeros, data);
        Ok(())
    }

    /// Ends the NAL unit in progress, if there is one, and leaves out the zero bytes at its end
    /// (`trailing_zero_8bits`; Reolink has bytes after its SPS).
    pub(super) fn end(&mut self, out: &mut impl AccessUnitBuffer) -> Result<(), DepacketizeError> {
        let Some(OpenNal { to, zeros }) = self.open.take() else {
            return Ok(());
        };
        match to {
            Destination::Sample { at } => {
                let len = (out.len() - at - 4).saturating_sub(zeros);
                if len <= 1 {
                    out.truncate(at);
                } else {
                    out.truncate(at + 4 + len);
                    let len = u32::try_from(len).unwrap_or(u32::MAX);
                    out.overwrite(at, &len.to_be_bytes());
                }
            }
            Destination::Set => {
                self.set.truncate(self.set.len().saturating_sub(zeros));
                let changed = sets::keep(&mut self.sets, &self.set);
                self.new_parameters |= changed.map_err(DepacketizeError::Set)?;
            }
            Destination::Nowhere => {}
        }
        Ok(())
    }

    /// What is left of the NAL unit in progress is not kept; of a parameter set only if that is
    /// itself `broken`.
    pub(super) fn discard(&mut self, broken: bool) {
        if let Some(nal) = &mut self.open
            && (broken || nal.to != Destination::Set)
        {
            nal.to = Destination::Nowhere;
        }
    }
}

fn push_set(set: &mut ParameterSet, data: &[u8]) -> Result<(), DepacketizeError> {
    let len = set.len() + data.len();
    set.extend_from_slice(data)
        .map_err(|_| DepacketizeError::Set(SpsError::TooLong { len }))
}
