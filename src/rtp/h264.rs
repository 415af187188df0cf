//! H.264 over RTP (RFC 6184, packetization modes 0 and 1): packets to access units.
//!
//! An access unit goes out as its NAL units with 4-byte lengths (ISO/IEC 14496-15), without
//! parameter sets, delimiters and filler, straight into the caller's buffer. It is complete only
//! when a packet of the next one comes: the marker alone does not tell, since cameras set it on
//! SEI, on SPS, on every slice, or never.
//!
//! For each packet, in order:
//!
//! 1. [`packets_lost`](Depacketizer::packets_lost), if some are missing before it;
//! 2. [`starts_access_unit`](Depacketizer::starts_access_unit): if so,
//!    [`take`](Depacketizer::take) the one in progress, and have an empty buffer for the next;
//! 3. [`push`](Depacketizer::push).

use core::{fmt, mem};

use crate::media::{ParameterSet, ParameterSets};
use crate::rtp::nal;
use crate::rtp::packet::Packet;
use crate::rtp::sets;
use crate::rtp::sps::SpsError;
use crate::rtp::{AccessUnitBuffer, Full};

/// Aggregation packet without decoding order numbers (RFC 6184 section 5.7.1).
const STAP_A: u8 = 24;
/// Fragmentation unit without decoding order number (RFC 6184 section 5.8).
const FU_A: u8 = 28;

/// One coded picture, or what is known of a lost one. Its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// RTP time of presentation.
    pub timestamp: u32,
    /// Decoding can begin here.
    ///
    /// An IDR picture; of a camera that has sent none in this session, also a picture of I slices
    /// with a recovery point SEI of `recovery_frame_cnt` 0 (open GOP).
    pub sync: bool,
    /// Bytes in the buffer.
    pub len: usize,
    /// A part of it is missing; the buffer is empty.
    pub damaged: bool,
    /// Packets were lost before it: whole access units may be missing.
    pub preceded_by_loss: bool,
    /// [`Depacketizer::parameters`] are others than at the access unit before.
    pub new_parameters: bool,
    /// Other pictures may refer to it (`nal_ref_idc` is not 0).
    pub reference: bool,
}

/// Depacketizer of one track in one RTSP session.
#[derive(Clone, Debug)]
pub struct Depacketizer {
    sets: ParameterSets,
    new_parameters: bool,
    unit: Option<Unit>,
    nal: Option<OpenNal>,
    /// The parameter set in progress, if `nal` is one.
    set: ParameterSet,
    in_fragment: bool,
    lost: bool,
    idr_seen: bool,
    /// False for a camera that sets the marker on each slice.
    marker_ends_unit: bool,
}

/// The access unit in progress.
#[derive(Clone, Debug)]
struct Unit {
    timestamp: u32,
    has_slice: bool,
    idr: bool,
    all_intra: bool,
    recovery_point: bool,
    reference: bool,
    /// A marker came, with or after a slice.
    marker: bool,
    damaged: bool,
    preceded_by_loss: bool,
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
    /// Into [`Depacketizer::set`].
    Set,
    /// Not kept.
    Nowhere,
}

impl Depacketizer {
    /// With the parameter sets of the SDP, which may be empty or broken (VStarcam): then in-band
    /// ones are waited for.
    pub fn new(sdp: &ParameterSets) -> Self {
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
            unit: None,
            nal: None,
            set: ParameterSet::new(),
            in_fragment: false,
            lost: false,
            idr_seen: false,
            marker_ends_unit: true,
        }
    }

    /// The parameter sets in use, once there is one of each kind.
    pub fn parameters(&self) -> Option<&ParameterSets> {
        (!self.sets.sps.is_empty() && !self.sets.pps.is_empty()).then_some(&self.sets)
    }

    /// Packets are missing before the next one.
    pub fn packets_lost(&mut self) {
        self.lost = true;
        self.in_fragment = false;
        let open = self.nal.take().map(|nal| nal.to);
        if let Some(unit) = &mut self.unit {
            let complete = unit.marker && self.marker_ends_unit;
            unit.damaged |= matches!(open, Some(Destination::Sample { .. }));
            unit.damaged |= unit.has_slice && !complete;
        }
    }

    /// Whether `packet` begins another access unit than the one in progress.
    ///
    /// By the timestamp, or, after a marker, by the first NAL unit in it. Parameter sets and SEI
    /// without a picture belong to the next one, whatever their timestamp (Reolink).
    pub fn starts_access_unit(&self, packet: &Packet<'_>) -> bool {
        let Some(unit) = &self.unit else {
            return false;
        };
        (unit.has_slice || unit.damaged)
            && (packet.timestamp != unit.timestamp || unit.marker && begins_picture(packet.payload))
    }

    /// Ends the access unit in progress. None if there is no picture in it.
    pub fn take(&mut self, out: &mut impl AccessUnitBuffer) -> Option<AccessUnit> {
        let mut unit = self.unit.take()?;
        self.in_fragment = false;
        if unit.marker {
            // The marker stands for an end bit that was left out.
            unit.damaged |= self.end_nal(out).is_err();
        }
        unit.damaged |= self.nal.take().is_some() || unit.has_slice && out.is_empty();
        if unit.damaged || !unit.has_slice {
            out.truncate(0);
        }
        if !unit.damaged && !unit.has_slice {
            self.lost |= unit.preceded_by_loss;
            return None;
        }
        self.idr_seen |= unit.idr;
        let open_gop = !self.idr_seen && unit.recovery_point && unit.all_intra;
        Some(AccessUnit {
            timestamp: unit.timestamp,
            sync: unit.idr || open_gop,
            len: out.len(),
            damaged: unit.damaged,
            preceded_by_loss: unit.preceded_by_loss,
            new_parameters: mem::take(&mut self.new_parameters),
            reference: unit.reference,
        })
    }

    /// Takes in the next packet. An error costs the access unit it belongs to.
    pub fn push(
        &mut self,
        packet: &Packet<'_>,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let Some((indicator, body)) = packet.payload.split_first() else {
            return Ok(());
        };
        self.join(packet.timestamp);
        let result = match nal::kind(*indicator) {
            STAP_A => self.push_aggregate(packet.payload, out),
            FU_A => self.push_fragment(*indicator, body, out),
            kind @ 25..=31 => Err(DepacketizeError::Unsupported { kind }),
            _ => self.push_nal(packet.payload, out),
        };
        if let Some(unit) = &mut self.unit {
            unit.damaged |= result.is_err();
            unit.marker |= packet.marker && (unit.has_slice || unit.damaged);
            if unit.damaged {
                out.truncate(0);
                self.discard_nal(result.is_err());
            }
        }
        result
    }

    /// Makes the packet part of the access unit in progress, or of a new one.
    fn join(&mut self, timestamp: u32) {
        let lost = mem::take(&mut self.lost);
        match &mut self.unit {
            None => self.unit = Some(Unit::new(timestamp, lost)),
            Some(unit) if unit.has_slice => unit.damaged |= lost,
            Some(unit) => {
                unit.timestamp = timestamp;
                unit.preceded_by_loss |= lost;
            }
        }
    }

    /// STAP-A. Tolerates padding and empty entries.
    fn push_aggregate(
        &mut self,
        payload: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let mut rest = payload.get(1..).unwrap_or_default();
        while let Some((len, behind)) = rest.split_first_chunk() {
            let at = payload.len() - rest.len();
            let len = usize::from(u16::from_be_bytes(*len));
            let (unit, behind) = behind
                .split_at_checked(len)
                .ok_or(DepacketizeError::Truncated { at })?;
            self.push_nal(unit, out)?;
            rest = behind;
        }
        Ok(())
    }

    /// FU-A. The reserved bit (Longse) and the type in all but the first (Tiandy) are ignored; a
    /// missing end bit is made up for by what follows.
    fn push_fragment(
        &mut self,
        indicator: u8,
        body: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let (header, data) = body
            .split_first()
            .ok_or(DepacketizeError::Truncated { at: 1 })?;
        if header & 0x80 != 0 {
            self.end_nal(out)?;
            self.in_fragment = true;
            self.begin_nal(indicator & 0xe0 | header & 0x1f, data, out)?;
        } else if !self.in_fragment {
            return match &mut self.unit {
                Some(unit) if unit.damaged || unit.preceded_by_loss => {
                    unit.damaged = true;
                    Ok(())
                }
                _ => Err(DepacketizeError::NoStart),
            };
        }
        self.write(data, out)?;
        if header & 0x40 != 0 {
            self.in_fragment = false;
            self.end_nal(out)?;
        }
        Ok(())
    }

    /// A whole NAL unit, or several with start codes between (V380).
    fn push_nal(
        &mut self,
        data: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        self.in_fragment = false;
        self.end_nal(out)?;
        self.write(data, out)?;
        self.end_nal(out)
    }

    /// Goes on with the NAL unit in progress; if there is none, `data` begins with its header.
    /// At a start code the next one begins (Amatek, V380).
    fn write(
        &mut self,
        mut data: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        loop {
            let Some(nal) = &self.nal else {
                let Some((header, rest)) = data.split_first() else {
                    return Ok(());
                };
                self.begin_nal(*header, rest, out)?;
                data = rest;
                continue;
            };
            let Some(one) = nal::find_start_code(nal.zeros, data) else {
                return self.extend_nal(data, out);
            };
            self.extend_nal(data.get(..one).unwrap_or_default(), out)?;
            self.end_nal(out)?;
            data = data.get(one + 1..).unwrap_or_default();
        }
    }

    /// Begins a NAL unit; `rest` is what is there of its payload.
    fn begin_nal(
        &mut self,
        header: u8,
        rest: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let Some(unit) = &mut self.unit else {
            return Ok(());
        };
        let kind = nal::kind(header);
        let nal = self.nal.insert(OpenNal {
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
                if nal::is_slice(kind) {
                    self.marker_ends_unit &= !unit.marker || nal::is_first_slice(rest);
                    unit.add_slice(header, rest);
                }
                unit.recovery_point |= kind == nal::SEI && nal::has_recovery_point(rest);
                if !unit.damaged {
                    let at = out.len();
                    out.append(&[0, 0, 0, 0, header])?;
                    nal.to = Destination::Sample { at };
                }
            }
        }
        Ok(())
    }

    fn extend_nal(
        &mut self,
        data: &[u8],
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let Some(nal) = &mut self.nal else {
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
    fn end_nal(&mut self, out: &mut impl AccessUnitBuffer) -> Result<(), DepacketizeError> {
        let Some(OpenNal { to, zeros }) = self.nal.take() else {
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
    fn discard_nal(&mut self, broken: bool) {
        if let Some(nal) = &mut self.nal
            && (broken || nal.to != Destination::Set)
        {
            nal.to = Destination::Nowhere;
        }
    }
}

impl Unit {
    const fn new(timestamp: u32, preceded_by_loss: bool) -> Self {
        Self {
            timestamp,
            has_slice: false,
            idr: false,
            all_intra: true,
            recovery_point: false,
            reference: false,
            marker: false,
            damaged: false,
            preceded_by_loss,
        }
    }

    fn add_slice(&mut self, header: u8, rest: &[u8]) {
        // No camera uses arbitrary slice order: the first slice is missing.
        self.damaged |= !self.has_slice && !nal::is_first_slice(rest);
        self.has_slice = true;
        self.idr |= nal::kind(header) == nal::IDR_SLICE;
        self.reference |= header & 0x60 != 0;
        self.all_intra &= nal::is_intra(rest);
    }
}

/// Whether the first NAL unit of `payload` may be the first of an access unit (ITU-T H.264
/// section 7.4.1.2.3).
fn begins_picture(payload: &[u8]) -> bool {
    let Some((header, rest)) = first_nal(payload) else {
        return false;
    };
    match nal::kind(header) {
        nal::SEI..=nal::DELIMITER | 14..=18 => true,
        kind => nal::is_slice(kind) && nal::is_first_slice(rest),
    }
}

/// Header and payload of the first NAL unit that begins in a packet.
fn first_nal(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (indicator, body) = payload.split_first()?;
    match nal::kind(*indicator) {
        STAP_A => {
            let mut rest = body;
            while let ([0, 0], behind) = rest.split_first_chunk()? {
                rest = behind;
            }
            let (header, rest) = rest.get(2..)?.split_first()?;
            Some((*header, rest))
        }
        FU_A => {
            let (header, data) = body.split_first()?;
            (header & 0x80 != 0).then_some((indicator & 0xe0 | header & 0x1f, data))
        }
        0 => {
            let (header, rest) = nal::units(payload).next()?.split_first()?;
            Some((*header, rest))
        }
        _ => Some((*indicator, body)),
    }
}

fn push_set(set: &mut ParameterSet, data: &[u8]) -> Result<(), DepacketizeError> {
    let len = set.len() + data.len();
    set.extend_from_slice(data)
        .map_err(|_| DepacketizeError::Set(SpsError::TooLong { len }))
}

/// Why a packet could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepacketizeError {
    /// A packet of another packetization mode, or of none.
    Unsupported {
        /// The NAL unit type at byte 0 of the payload.
        kind: u8,
    },
    /// The payload ends early.
    Truncated {
        /// Byte of the payload at which more was expected.
        at: usize,
    },
    /// A fragment whose first one never came, though no packet is missing.
    NoStart,
    /// A parameter set of no use.
    Set(SpsError),
    /// No room for the access unit.
    Full,
}

impl From<Full> for DepacketizeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl fmt::Display for DepacketizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { kind } => {
                let name = match kind {
                    25 => "STAP-B",
                    26 => "MTAP16",
                    27 => "MTAP24",
                    29 => "FU-B",
                    _ => "reserved",
                };
                write!(f, "H.264 packet of type {kind} ({name}) is not supported")
            }
            Self::Truncated { at } => write!(f, "H.264 packet ends early, at byte {at}"),
            Self::NoStart => write!(f, "H.264 fragment without a start"),
            Self::Set(error) => error.fmt(f),
            Self::Full => write!(f, "no room for the access unit"),
        }
    }
}

impl core::error::Error for DepacketizeError {}
