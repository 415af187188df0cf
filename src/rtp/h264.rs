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

use core::mem;

pub use self::access_unit::AccessUnit;
use self::access_unit::Unit;
pub use self::error::DepacketizeError;
use self::nal_writer::NalWriter;
use crate::media::ParameterSets;
use crate::rtp::packet::Packet;
use crate::rtp::{AccessUnitBuffer, nal};

mod access_unit;
mod error;
mod nal_writer;

/// Aggregation packet without decoding order numbers (RFC 6184 section 5.7.1).
const STAP_A: u8 = 24;
/// Fragmentation unit without decoding order number (RFC 6184 section 5.8).
const FU_A: u8 = 28;

/// Depacketizer of one track in one RTSP session.
#[derive(Clone, Debug)]
pub struct Depacketizer {
    nals: NalWriter,
    unit: Option<Unit>,
    /// The NAL unit in progress comes in fragmentation units.
    in_fragment: bool,
    /// Packets are missing before the next one.
    lost: bool,
    idr_seen: bool,
    /// False for a camera that sets the marker on each slice.
    marker_ends_unit: bool,
}

impl Depacketizer {
    /// With the parameter sets of the SDP, which may be empty or broken (VStarcam): then in-band
    /// ones are waited for.
    pub fn new(sdp: &ParameterSets) -> Self {
        Self {
            nals: NalWriter::new(sdp),
            unit: None,
            in_fragment: false,
            lost: false,
            idr_seen: false,
            marker_ends_unit: true,
        }
    }

    /// The parameter sets in use, once there is one of each kind.
    pub fn parameters(&self) -> Option<&ParameterSets> {
        let sets = &self.nals.sets;
        (!sets.sps.is_empty() && !sets.pps.is_empty()).then_some(sets)
    }

    /// Packets are missing before the next one.
    pub fn packets_lost(&mut self) {
        self.lost = true;
        self.in_fragment = false;
        let cut_off = self.nals.forget();
        if let Some(unit) = &mut self.unit {
            let complete = unit.marker && self.marker_ends_unit;
            unit.damaged |= cut_off || unit.has_slice && !complete;
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
            unit.damaged |= self.nals.end(out).is_err();
        }
        unit.damaged |= self.nals.is_open() || unit.has_slice && out.is_empty();
        self.nals.forget();
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
            new_parameters: mem::take(&mut self.nals.new_parameters),
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
        let mut unit = self.join(packet.timestamp);
        let result = match nal::kind(*indicator) {
            STAP_A => self.push_aggregate(packet.payload, &mut unit, out),
            FU_A => self.push_fragment(*indicator, body, &mut unit, out),
            kind @ 25..=31 => Err(DepacketizeError::Unsupported { kind }),
            _ => self.push_nal(packet.payload, &mut unit, out),
        };
        unit.damaged |= result.is_err();
        unit.marker |= packet.marker && (unit.has_slice || unit.damaged);
        if unit.damaged {
            out.truncate(0);
            self.nals.discard(result.is_err());
        }
        self.marker_ends_unit &= !unit.slice_after_marker;
        self.unit = Some(unit);
        result
    }

    /// The access unit in progress, or a new one, which the next packet is part of.
    fn join(&mut self, timestamp: u32) -> Unit {
        let lost = mem::take(&mut self.lost);
        let Some(mut unit) = self.unit.take() else {
            return Unit::new(timestamp, lost);
        };
        if unit.has_slice {
            unit.damaged |= lost;
        } else {
            unit.timestamp = timestamp;
            unit.preceded_by_loss |= lost;
        }
        unit
    }

    /// STAP-A. Tolerates padding and empty entries.
    fn push_aggregate(
        &mut self,
        payload: &[u8],
        unit: &mut Unit,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let mut rest = payload.get(1..).unwrap_or_default();
        while let Some((len, behind)) = rest.split_first_chunk() {
            let at = payload.len() - rest.len();
            let len = usize::from(u16::from_be_bytes(*len));
            let (nal, behind) = behind
                .split_at_checked(len)
                .ok_or(DepacketizeError::Truncated { at })?;
            self.push_nal(nal, unit, out)?;
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
        unit: &mut Unit,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        let (header, data) = body
            .split_first()
            .ok_or(DepacketizeError::Truncated { at: 1 })?;
        if header & 0x80 != 0 {
            self.nals.end(out)?;
            self.in_fragment = true;
            self.nals
                .begin(indicator & 0xe0 | header & 0x1f, data, unit, out)?;
        } else if !self.in_fragment {
            if !unit.damaged && !unit.preceded_by_loss {
                return Err(DepacketizeError::NoStart);
            }
            unit.damaged = true;
            return Ok(());
        }
        self.nals.write(data, unit, out)?;
        if header & 0x40 != 0 {
            self.in_fragment = false;
            self.nals.end(out)?;
        }
        Ok(())
    }

    /// A whole NAL unit, or several with start codes between (V380).
    fn push_nal(
        &mut self,
        data: &[u8],
        unit: &mut Unit,
        out: &mut impl AccessUnitBuffer,
    ) -> Result<(), DepacketizeError> {
        self.in_fragment = false;
        self.nals.end(out)?;
        self.nals.write(data, unit, out)?;
        self.nals.end(out)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ParameterSet;
    use crate::rtp::Full;
    use crate::rtp::sps::SpsError;

    const SPS: [u8; 6] = [0x67, 77, 0, 30, 0x9a, 0x66];
    const PPS: [u8; 4] = [0x68, 0xee, 0x3c, 0x80];
    const SEI: [u8; 5] = [0x06, 5, 1, 9, 0x80];
    const RECOVERY: [u8; 5] = [0x06, 6, 1, 0xc4, 0x80];
    const IDR: [u8; 4] = [0x65, 0x88, 7, 8];
    const P: [u8; 4] = [0x41, 0x9a, 7, 8];
    const B: [u8; 4] = [0x01, 0x9e, 7, 8];
    /// I slice that is not of an IDR picture.
    const I: [u8; 4] = [0x41, 0x88, 7, 8];
    /// Slice that is not the first of its picture.
    const NEXT: [u8; 4] = [0x41, 0x4a, 7, 8];

    struct Buffer {
        bytes: Vec<u8>,
        max: usize,
    }

    impl AccessUnitBuffer for Buffer {
        fn len(&self) -> usize {
            self.bytes.len()
        }
        fn append(&mut self, data: &[u8]) -> Result<(), Full> {
            if self.bytes.len() + data.len() > self.max {
                return Err(Full);
            }
            self.bytes.extend(data);
            Ok(())
        }
        fn overwrite(&mut self, at: usize, data: &[u8]) {
            self.bytes[at..at + data.len()].copy_from_slice(data);
        }
        fn truncate(&mut self, len: usize) {
            self.bytes.truncate(len);
        }
    }

    /// The engine's part: takes each access unit when the next one begins.
    struct Session {
        depacketizer: Depacketizer,
        buffer: Buffer,
        units: Vec<(AccessUnit, Vec<u8>)>,
        errors: Vec<DepacketizeError>,
    }

    impl Session {
        fn new() -> Self {
            Self::with(&ParameterSets::default())
        }

        fn with(sdp: &ParameterSets) -> Self {
            let (bytes, max) = (Vec::new(), 100_000);
            Self {
                depacketizer: Depacketizer::new(sdp),
                buffer: Buffer { bytes, max },
                units: Vec::new(),
                errors: Vec::new(),
            }
        }

        fn packet(mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Self {
            let packet = Packet {
                marker,
                payload_type: 96,
                sequence: 0,
                timestamp,
                ssrc: 0,
                payload,
            };
            if self.depacketizer.starts_access_unit(&packet) {
                self.take();
            }
            let pushed = self.depacketizer.push(&packet, &mut self.buffer);
            self.errors.extend(pushed.err());
            self
        }

        fn lost(mut self) -> Self {
            self.depacketizer.packets_lost();
            self
        }

        fn take(&mut self) {
            if let Some(unit) = self.depacketizer.take(&mut self.buffer) {
                assert_eq!(unit.len, self.buffer.bytes.len());
                assert!(!unit.damaged || unit.len == 0);
                self.units.push((unit, mem::take(&mut self.buffer.bytes)));
            }
            assert!(self.buffer.bytes.is_empty());
        }

        fn end(mut self) -> Self {
            self.take();
            self
        }

        /// Ends; checks that no packet was an error; timestamp and NAL units of each access
        /// unit, none where it is damaged.
        fn samples(self) -> Vec<(u32, Vec<Vec<u8>>)> {
            let ended = self.end();
            assert_eq!(ended.errors, []);
            ended
                .units
                .iter()
                .map(|(unit, bytes)| (unit.timestamp, split(bytes)))
                .collect()
        }
    }

    fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut units = Vec::new();
        while let Some((len, rest)) = bytes.split_first_chunk() {
            let (unit, rest) = rest.split_at(usize::try_from(u32::from_be_bytes(*len)).unwrap());
            units.push(unit.to_vec());
            bytes = rest;
        }
        units
    }

    fn sample(timestamp: u32, units: &[&[u8]]) -> (u32, Vec<Vec<u8>>) {
        (timestamp, units.iter().map(|unit| unit.to_vec()).collect())
    }

    fn stap(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
            payload.extend(*unit);
        }
        payload
    }

    /// A fragment; `flags`: start 0x80, end 0x40, reserved 0x20.
    fn fu(header: u8, flags: u8, data: &[u8]) -> Vec<u8> {
        [&[header & 0xe0 | FU_A, flags | header & 0x1f], data].concat()
    }

    #[test]
    fn single_units_aggregates_and_fragments_are_one_access_unit() {
        let samples = Session::new()
            .packet(1, false, &[0x09, 0xf0])
            .packet(1, false, &stap(&[&SPS, &PPS, &SEI]))
            .packet(1, false, &fu(0x65, 0x80, &[0x88, 1]))
            .packet(1, false, &fu(0x65, 0, &[2, 3]))
            .packet(1, false, &fu(0x65, 0x40, &[4]))
            .packet(1, false, &[0x65, 0x42, 9])
            .packet(1, true, &[0x0c, 0xff, 0x80])
            .packet(2, true, &P)
            .samples();
        let idr = sample(1, &[&SEI, &[0x65, 0x88, 1, 2, 3, 4], &[0x65, 0x42, 9]]);
        assert_eq!(samples, [idr, sample(2, &[&P])]);
    }

    #[test]
    fn flir_m400_without_markers_is_split_by_timestamp() {
        let samples = Session::new()
            .packet(1, false, &IDR)
            .packet(1, false, &NEXT)
            .packet(2, false, &P)
            .packet(3, false, &P)
            .samples();
        assert_eq!(
            samples,
            [
                sample(1, &[&IDR, &NEXT]),
                sample(2, &[&P]),
                sample(3, &[&P])
            ]
        );
    }

    #[test]
    fn markers_on_sei_parameter_sets_and_slices_split_nothing() {
        // Ivel: marker on SEI. Others: on each NAL unit.
        let samples = Session::new()
            .packet(1, true, &SPS)
            .packet(1, true, &PPS)
            .packet(1, true, &SEI)
            .packet(1, true, &IDR)
            .packet(1, true, &NEXT)
            .packet(2, true, &P)
            .samples();
        assert_eq!(samples, [sample(1, &[&SEI, &IDR, &NEXT]), sample(2, &[&P])]);
    }

    #[test]
    fn gstreamer_sliced_encoding_repeats_parameter_sets_inside() {
        let samples = Session::new()
            .packet(1, false, &stap(&[&SPS, &PPS]))
            .packet(1, false, &IDR)
            .packet(1, false, &stap(&[&SPS, &PPS]))
            .packet(1, true, &NEXT)
            .packet(2, true, &P)
            .samples();
        assert_eq!(samples, [sample(1, &[&IDR, &NEXT]), sample(2, &[&P])]);
    }

    #[test]
    fn reolink_parameter_sets_with_the_wrong_time_belong_to_the_next_picture() {
        let session = Session::new()
            .packet(1, true, &P)
            .packet(1, false, &SPS)
            .packet(1, false, &PPS)
            .packet(2, true, &IDR)
            .end();
        assert!(!session.units[0].0.new_parameters && session.units[1].0.new_parameters);
        assert_eq!(session.samples(), [sample(1, &[&P]), sample(2, &[&IDR])]);
    }

    #[test]
    fn pictures_with_one_timestamp_are_split_after_a_marker() {
        for first in [
            &P[..],
            &stap(&[&[], &P]),
            &[0x09, 0xf0],
            &[0, 0, 0, 1, 0x41, 0x9a, 7, 8],
        ] {
            let session = Session::new().packet(1, true, &IDR).packet(1, false, first);
            assert_eq!(session.units.len(), 1, "{first:x?}");
        }
        for more in [
            &NEXT[..],
            &fu(0x41, 0, &[1]),
            &[0x0c, 0x80],
            &[0x18],
            &[0x1c],
        ] {
            let session = Session::new().packet(1, true, &IDR).packet(1, false, more);
            assert_eq!(session.units.len(), 0, "{more:x?}");
        }
    }

    #[test]
    fn stap_a_padding_and_empty_entries_are_passed_over() {
        let padded = [&stap(&[&[], &IDR, &[]])[..], &[0, 0, 0, 0, 0]].concat();
        assert_eq!(
            Session::new().packet(1, true, &padded).samples(),
            [sample(1, &[&IDR])]
        );
    }

    #[test]
    fn fragment_headers_are_read_with_tolerance() {
        let whole: [&[u8]; 1] = [&[0x65, 0x88, 1, 2]];
        let cases: [(&str, &[Vec<u8>]); 6] = [
            (
                "CostarHD: start and end in one",
                &[fu(0x65, 0xc0, &[0x88, 1, 2])],
            ),
            (
                "Longse: reserved bit",
                &[fu(0x65, 0xa0, &[0x88]), fu(0x65, 0x60, &[1, 2])],
            ),
            (
                "Tiandy: another type",
                &[fu(0x65, 0x80, &[0x88, 1]), fu(0x61, 0x40, &[2])],
            ),
            (
                "empty fragment",
                &[
                    fu(0x65, 0x80, &[]),
                    fu(0x65, 0, &[]),
                    fu(0x65, 0x40, &[0x88, 1, 2]),
                ],
            ),
            (
                "no end, but a marker",
                &[fu(0x65, 0x80, &[0x88, 1]), fu(0x65, 0, &[2])],
            ),
            (
                "trailing zero bytes",
                &[fu(0x65, 0x80, &[0x88, 1]), fu(0x65, 0x40, &[2, 0, 0, 0])],
            ),
        ];
        for (name, packets) in cases {
            let mut session = Session::new();
            for (i, payload) in packets.iter().enumerate() {
                session = session.packet(1, i + 1 == packets.len(), payload);
            }
            assert_eq!(session.samples(), [sample(1, &whole)], "{name}");
        }
    }

    #[test]
    fn a_fragment_that_is_not_ended_is_ended_by_the_next_nal_unit() {
        let samples = Session::new()
            .packet(1, false, &fu(0x65, 0x80, &[0x88, 1]))
            .packet(1, false, &fu(0x65, 0x80, &[0x4a, 2]))
            .packet(1, true, &NEXT)
            .samples();
        assert_eq!(
            samples,
            [sample(1, &[&[0x65, 0x88, 1], &[0x65, 0x4a, 2], &NEXT])]
        );
    }

    #[test]
    fn v380_and_amatek_start_codes_are_split_on() {
        let annex_b = [
            &[0, 0, 0, 1][..],
            &SPS,
            &[0, 0, 0, 1],
            &PPS,
            &[0, 0, 1],
            &SEI,
            &[0, 0, 0, 1],
            &IDR,
        ]
        .concat();
        let without_first = &annex_b[4..];
        for whole in [&annex_b[..], without_first, &annex_b[1..]] {
            let session = Session::new().packet(1, true, whole);
            assert!(session.depacketizer.parameters().is_some());
            assert_eq!(session.samples(), [sample(1, &[&SEI, &IDR])]);
        }
        for first in 1..without_first.len() - 1 {
            for second in first + 1..without_first.len() {
                let session = Session::new()
                    .packet(1, false, &fu(0x67, 0x80, &without_first[1..first]))
                    .packet(1, false, &fu(0x67, 0, &without_first[first..second]))
                    .packet(1, true, &fu(0x67, 0x40, &without_first[second..]));
                assert!(session.depacketizer.parameters().is_some());
                assert_eq!(session.samples(), [sample(1, &[&SEI, &IDR])]);
            }
        }
    }

    #[test]
    fn loss_damages_what_it_touches_and_nothing_else() {
        let packets: [(u32, bool, Vec<u8>); 7] = [
            (1, true, P.to_vec()),
            (2, false, fu(0x41, 0x80, &[0x9a, 1])),
            (2, false, fu(0x41, 0, &[2])),
            (2, true, fu(0x41, 0x40, &[3])),
            (3, false, P.to_vec()),
            (3, true, NEXT.to_vec()),
            (4, true, P.to_vec()),
        ];
        // Packet lost: timestamps that come out damaged, and what is preceded by loss.
        let expected: [(&[u32], &[u32]); 7] = [
            (&[], &[2]),
            (&[2], &[2]),
            (&[2], &[]),
            (&[2], &[3]),
            (&[3], &[3]),
            (&[3], &[4]),
            (&[], &[]),
        ];
        for (lost, (damaged, preceded)) in expected.into_iter().enumerate() {
            let mut session = Session::new();
            for (i, (timestamp, marker, payload)) in packets.iter().enumerate() {
                session = if i == lost {
                    session.lost()
                } else {
                    session.packet(*timestamp, *marker, payload)
                };
            }
            let session = session.end();
            assert_eq!(session.errors, []);
            let told = |tell: fn(&AccessUnit) -> bool| -> Vec<_> {
                let units = session.units.iter().map(|(unit, _)| unit);
                units
                    .filter(|unit| tell(unit))
                    .map(|unit| unit.timestamp)
                    .collect()
            };
            assert_eq!(told(|unit| unit.damaged), damaged, "{lost}");
            assert_eq!(told(|unit| unit.preceded_by_loss), preceded, "{lost}");
            assert_eq!(told(|unit| !unit.damaged && unit.len == 0), [], "{lost}");
        }
    }

    #[test]
    fn a_marker_on_each_slice_does_not_save_a_picture_from_loss() {
        let session = Session::new()
            .packet(1, true, &P)
            .packet(1, true, &NEXT)
            .packet(2, true, &P)
            .lost()
            .packet(3, true, &P)
            .end();
        let damaged: Vec<_> = session.units.iter().map(|(unit, _)| unit.damaged).collect();
        assert_eq!(damaged, [false, true, false]);
        // And a further slice that comes after the loss.
        let session = Session::new()
            .packet(1, true, &P)
            .lost()
            .packet(1, true, &NEXT)
            .end();
        assert!(session.units[0].0.damaged);
    }

    #[test]
    fn lost_parameter_sets_cost_no_picture() {
        let session = Session::new()
            .packet(1, false, &SPS)
            .lost()
            .packet(1, true, &IDR)
            .end();
        let unit = session.units[0].0;
        assert!(!unit.damaged && unit.preceded_by_loss && unit.sync);
    }

    #[test]
    fn a_session_that_begins_inside_a_picture_tells_it() {
        let session = Session::new()
            .packet(1, false, &fu(0x65, 0, &[1]))
            .packet(1, true, &fu(0x65, 0x40, &[1]))
            .packet(2, true, &NEXT)
            .packet(3, true, &P)
            .end();
        let damaged: Vec<_> = session.units.iter().map(|(unit, _)| unit.damaged).collect();
        assert_eq!(damaged, [true, true, false]);
        assert_eq!(session.errors, [DepacketizeError::NoStart]);
    }

    #[test]
    fn a_fragment_cut_off_by_the_next_picture_is_damage() {
        let session = Session::new()
            .packet(1, false, &fu(0x65, 0x80, &[0x88]))
            .packet(2, true, &P)
            .end();
        assert!(session.units[0].0.damaged && !session.units[1].0.damaged);
    }

    #[test]
    fn bad_packets_are_errors_and_cost_their_picture() {
        let long_sps = [&SPS[..], &[1; 512]].concat();
        let cases: [(&[u8], DepacketizeError); 8] = [
            (&[25, 0], DepacketizeError::Unsupported { kind: 25 }),
            (&[29, 0x85], DepacketizeError::Unsupported { kind: 29 }),
            (&[31], DepacketizeError::Unsupported { kind: 31 }),
            (&[0x78, 0, 9, 0x41], DepacketizeError::Truncated { at: 1 }),
            (&[0x7c], DepacketizeError::Truncated { at: 1 }),
            (&fu(0x41, 0, &[1]), DepacketizeError::NoStart),
            (
                &[0x67, 77],
                DepacketizeError::Set(SpsError::Truncated { at: 8 }),
            ),
            (
                &long_sps,
                DepacketizeError::Set(SpsError::TooLong { len: 518 }),
            ),
        ];
        for (payload, expected) in cases {
            let session = Session::new()
                .packet(1, false, &P)
                .packet(1, true, payload)
                .packet(2, true, &P)
                .end();
            assert_eq!(session.errors, [expected]);
            assert!(session.units[0].0.damaged && !session.units[1].0.damaged);
            assert!(session.depacketizer.parameters().is_none());
        }
        assert_eq!(Session::new().packet(1, true, &[]).samples(), []);
    }

    #[test]
    fn a_fragmented_parameter_set_is_kept_unless_it_is_broken() {
        let session = Session::new()
            .packet(1, false, &P)
            .packet(1, false, &[25])
            .packet(1, false, &PPS)
            .packet(1, false, &fu(0x67, 0x80, &SPS[1..3]))
            .packet(1, true, &fu(0x67, 0x40, &SPS[3..]))
            .end();
        assert_eq!(session.depacketizer.parameters().unwrap().sps, [SPS]);
        let session = session
            .packet(2, false, &fu(0x67, 0x80, &SPS[1..5]))
            .packet(2, false, &fu(0x67, 0, &[1; 600]))
            .packet(2, true, &fu(0x67, 0x40, &[1]))
            .end();
        assert_eq!(session.depacketizer.parameters().unwrap().sps, [SPS]);
    }

    #[test]
    fn a_full_buffer_costs_one_picture_and_no_parameter_set() {
        let mut session = Session::new();
        session.buffer.max = 20;
        let session = session
            .packet(1, false, &stap(&[&SPS, &PPS]))
            .packet(1, false, &fu(0x65, 0x80, &[0x88; 10]))
            .packet(1, false, &fu(0x65, 0, &[0x67; 10]))
            .packet(1, false, &fu(0x65, 0, &SPS))
            .packet(1, true, &fu(0x65, 0x40, &[0x68; 10]))
            .packet(2, true, &P)
            .end();
        assert_eq!(session.errors, [DepacketizeError::Full]);
        assert!(session.units[0].0.damaged && !session.units[1].0.damaged);
        let sets = session.depacketizer.parameters().unwrap();
        assert_eq!(
            (&sets.sps[..], &sets.pps[..]),
            (&[SPS.into()][..], &[PPS.into()][..])
        );
    }

    #[test]
    fn sdp_parameter_sets_are_cleaned_and_in_band_ones_replace_them() {
        let mut sdp = ParameterSets::default();
        let gw_security = [&SPS[..], &[0, 0, 0, 1]].concat();
        sdp.sps
            .push(ParameterSet::from_slice(&gw_security).unwrap())
            .unwrap();
        // VStarcam: no NAL header.
        sdp.sps.push([0xe9, 0, 0xf0, 0x04].into()).unwrap();
        sdp.pps.push(PPS.into()).unwrap();
        let other = [0x67, 77, 0, 30, 0x9a, 0x77];
        let session = Session::with(&sdp);
        assert_eq!(session.depacketizer.parameters().unwrap().sps, [SPS]);
        let session = session
            .packet(1, true, &stap(&[&SPS, &PPS, &IDR]))
            .packet(
                2,
                true,
                &stap(&[&other, &[0x68, 0xee, 0x3c, 0x80, 0], &IDR]),
            )
            .packet(3, true, &stap(&[&other, &PPS, &IDR]))
            .end();
        let new: Vec<_> = session
            .units
            .iter()
            .map(|(unit, _)| unit.new_parameters)
            .collect();
        assert_eq!(new, [false, true, false]);
        assert_eq!(session.depacketizer.parameters().unwrap().sps, [other]);
        assert_eq!(Session::new().depacketizer.parameters(), None);
    }

    #[test]
    fn sync_and_reference_are_read_from_the_slices() {
        let tell = |session: Session| -> Vec<_> {
            let units = session.end().units;
            units
                .iter()
                .map(|(unit, _)| (unit.sync, unit.reference))
                .collect()
        };
        let closed = Session::new()
            .packet(1, true, &IDR)
            .packet(2, true, &P)
            .packet(3, true, &B)
            .packet(4, true, &stap(&[&RECOVERY, &I]));
        let expected = [(true, true), (false, true), (false, false), (false, true)];
        assert_eq!(tell(closed), expected);
        let open = Session::new()
            .packet(1, true, &stap(&[&RECOVERY, &I]))
            .packet(2, true, &stap(&[&RECOVERY, &P]))
            .packet(3, true, &stap(&[&SEI, &I]))
            .packet(4, true, &stap(&[&RECOVERY, &I, &NEXT]));
        let expected = [(true, true), (false, true), (false, true), (false, true)];
        assert_eq!(tell(open), expected);
    }

    #[test]
    fn a_pause_ends_the_picture_and_keeps_what_is_known_of_loss() {
        let session = Session::new().packet(1, true, &P).end();
        assert_eq!(session.units.len(), 1);
        let session = session.lost().packet(2, false, &SEI).end().end();
        assert_eq!(session.units.len(), 1);
        let session = session.packet(3, true, &P).end();
        assert!(session.units[1].0.preceded_by_loss);
    }

    /// Another number each time (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, max: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::try_from(max).unwrap()).unwrap()
        }

        /// A NAL unit without start codes, that does not end with a zero byte.
        fn nal(&mut self, header: u8, first: u8, max: usize) -> Vec<u8> {
            let mut unit = vec![header, first];
            for _ in 0..self.below(max) {
                let zero = self.below(4) == 0 && !unit.ends_with(&[0, 0]);
                unit.push(if zero {
                    0
                } else {
                    u8::try_from(2 + self.below(254)).unwrap()
                });
            }
            unit.push(0x80);
            unit
        }
    }

    /// Cuts NAL units into payloads by all three modes.
    fn packetize(random: &mut Random, units: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        let mut units = units;
        while let Some((unit, mut rest)) = units.split_first() {
            match random.below(3) {
                0 => payloads.push(unit.clone()),
                1 => {
                    let together = 1 + random.below(rest.len() + 1);
                    let all: Vec<_> = units[..together].iter().map(Vec::as_slice).collect();
                    payloads.push(stap(&all));
                    rest = &units[together..];
                }
                _ => {
                    let mut at = 1;
                    while at < unit.len() {
                        let to = (at + 1 + random.below(1400)).min(unit.len());
                        let start = if at == 1 { 0x80 } else { 0 };
                        let end = if to == unit.len() { 0x40 } else { 0 };
                        payloads.push(fu(unit[0], start | end, &unit[at..to]));
                        at = to;
                    }
                }
            }
            units = rest;
        }
        payloads
    }

    #[test]
    fn what_is_packetized_comes_out_again() {
        for seed in 1..200 {
            let random = &mut Random(seed);
            let mut session = Session::new();
            let mut expected = Vec::new();
            for timestamp in 0..20 {
                let mut units = vec![random.nal(0x41, 0x9a, 5000)];
                for _ in 0..random.below(4) {
                    units.push(random.nal(0x41, 0x4a, 3000));
                }
                expected.push((timestamp, units.clone()));
                let payloads = packetize(random, &units);
                let marker = random.below(3) > 0;
                for (i, payload) in payloads.iter().enumerate() {
                    session = session.packet(timestamp, marker && i + 1 == payloads.len(), payload);
                }
            }
            assert_eq!(session.samples(), expected, "seed {seed}");
        }
    }

    #[test]
    fn noise_never_panics_and_never_leaves_a_broken_sample() {
        for seed in 1..500 {
            let random = &mut Random(seed);
            let mut session = Session::new();
            for _ in 0..100 {
                let len = random.below(40);
                let mut payload: Vec<u8> = (0..len)
                    .map(|_| u8::try_from(random.below(256)).unwrap())
                    .collect();
                if let (Some(first), true) = (payload.first_mut(), random.below(2) == 0) {
                    *first = [0x41, 0x65, 0x67, 0x78, 0x7c, 0][random.below(6)];
                }
                if random.below(10) == 0 {
                    session = session.lost();
                }
                let timestamp = u32::try_from(random.below(3)).unwrap();
                session = session.packet(timestamp, random.below(3) == 0, &payload);
            }
            for (_, bytes) in session.end().units {
                assert!(split(&bytes).iter().all(|unit| unit.len() > 1));
            }
        }
    }
}
