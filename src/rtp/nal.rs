//! H.264 NAL units (ITU-T H.264 section 7.3.1): types, start codes, and the bits inside.

/// Coded slice of a non-IDR picture.
pub const SLICE: u8 = 1;
/// Coded slice data partition A, which holds the slice header.
pub const PARTITION_A: u8 = 2;
/// Coded slice of an IDR picture.
pub const IDR_SLICE: u8 = 5;
/// Supplemental enhancement information.
pub const SEI: u8 = 6;
/// Sequence parameter set.
pub const SPS: u8 = 7;
/// Picture parameter set.
pub const PPS: u8 = 8;
/// Access unit delimiter.
pub const DELIMITER: u8 = 9;
/// End of sequence.
pub const END_OF_SEQUENCE: u8 = 10;
/// End of stream.
pub const END_OF_STREAM: u8 = 11;
/// Filler data.
pub const FILLER: u8 = 12;

/// `nal_unit_type` of a NAL unit's first byte.
pub const fn kind(header: u8) -> u8 {
    header & 0x1f
}

/// Whether NAL units of this type begin with a slice header.
pub const fn is_slice(kind: u8) -> bool {
    matches!(kind, SLICE | PARTITION_A | IDR_SLICE)
}

/// Whether a slice is the first of its picture: `first_mb_in_slice` is 0, a single 1 as its code.
/// `rest` is what is there of the NAL unit behind its header; if nothing is, it passes for one.
pub fn is_first_slice(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| byte & 0x80 != 0)
}

/// Whether `slice_type` says I or SI (table 7-6).
pub fn is_intra(rest: &[u8]) -> bool {
    let mut bits = BitReader::new(rest);
    let kind = bits.unsigned().and_then(|_first_mb| bits.unsigned());
    kind.is_ok_and(|kind| matches!(kind, 2 | 4 | 7 | 9))
}

/// Whether an SEI NAL unit has a recovery point with `recovery_frame_cnt` 0 (section D.1.8).
pub fn has_recovery_point(rest: &[u8]) -> bool {
    const RECOVERY_POINT: u32 = 6;
    let mut bits = BitReader::new(rest);
    while let (Ok(kind), Ok(size)) = (sei_number(&mut bits), sei_number(&mut bits)) {
        if kind == RECOVERY_POINT {
            return bits.flag() == Ok(true);
        }
        for _ in 0..size {
            if bits.byte().is_err() {
                return false;
            }
        }
    }
    false
}

/// `payloadType` or `payloadSize` (section 7.3.2.3.1).
fn sei_number(bits: &mut BitReader<'_>) -> Result<u32, OutOfBits> {
    let mut number = 0;
    loop {
        let byte = bits.byte()?;
        number += u32::from(byte);
        if byte != 0xff {
            return Ok(number);
        }
    }
}

/// Where in `data` the 1 of the first Annex B start code `00 00 01` stands. `zeros` is how many
/// zero bytes came right before `data`.
///
/// No NAL unit has one inside (section 7.4.1): a start code is where a camera put several NAL
/// units in the place of one.
pub fn find_start_code(zeros: usize, data: &[u8]) -> Option<usize> {
    match data {
        [1, ..] if zeros >= 2 => return Some(0),
        [0, 1, ..] if zeros >= 1 => return Some(1),
        _ => {}
    }
    let mut at = 2;
    while let Some(byte) = data.get(at) {
        at += match byte {
            0 => 1,
            1 if data.get(at - 2..at) == Some(&[0, 0]) => return Some(at),
            _ => 3,
        };
    }
    None
}

/// How many zero bytes end the run of `zeros` zero bytes and `data`.
pub fn zeros_at_end(zeros: usize, data: &[u8]) -> usize {
    match data.iter().rposition(|byte| *byte != 0) {
        Some(last) => data.len() - 1 - last,
        None => zeros + data.len(),
    }
}

/// The NAL units of `data`: one, or several with Annex B start codes between, as V380, Amatek
/// and GW Security cameras have them in RTP packets and SDP. Without trailing zero bytes.
pub fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    core::iter::from_fn(move || {
        let data = rest?;
        let (unit, behind) = match find_start_code(0, data) {
            Some(at) => (data.get(..at)?, data.get(at + 1..)),
            None => (data, None),
        };
        rest = behind;
        unit.get(..unit.len() - zeros_at_end(0, unit))
    })
    .filter(|unit| !unit.is_empty())
}

/// The data ended before the value, or the value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBits {
    /// Bits behind the NAL unit's header.
    pub at: usize,
}

/// Reads the bits of a NAL unit, leaving out emulation prevention bytes (section 7.4.1.1).
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    rest: &'a [u8],
    zeros: u8,
    current: u8,
    left: u8,
    read: usize,
}

impl<'a> BitReader<'a> {
    /// Reads what comes behind a NAL unit's header byte.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self {
            rest: payload,
            zeros: 0,
            current: 0,
            left: 0,
            read: 0,
        }
    }

    /// Bits read so far.
    pub const fn position(&self) -> usize {
        self.read
    }

    /// The error of a value that is none.
    pub const fn out_of_bits(&self) -> OutOfBits {
        OutOfBits { at: self.read }
    }

    /// One bit.
    pub fn flag(&mut self) -> Result<bool, OutOfBits> {
        if self.left == 0 {
            self.current = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        self.read += 1;
        Ok(self.current >> self.left & 1 == 1)
    }

    /// `u(count)`: up to 32 bits.
    pub fn bits(&mut self, count: u32) -> Result<u32, OutOfBits> {
        debug_assert!(count <= 32);
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// `u(8)`.
    pub fn byte(&mut self) -> Result<u8, OutOfBits> {
        let mut value = 0;
        for _ in 0..8 {
            value = value << 1 | u8::from(self.flag()?);
        }
        Ok(value)
    }

    /// `ue(v)` (section 9.1). Values above 2^32 - 2 do not occur and count as no value.
    pub fn unsigned(&mut self) -> Result<u32, OutOfBits> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return Err(self.out_of_bits());
            }
        }
        Ok((1_u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// `se(v)` (section 9.1.1).
    pub fn signed(&mut self) -> Result<i32, OutOfBits> {
        let code = self.unsigned()?;
        let magnitude = i32::try_from(code.div_ceil(2)).map_err(|_| self.out_of_bits())?;
        Ok(if code % 2 == 1 { magnitude } else { -magnitude })
    }

    fn next_byte(&mut self) -> Result<u8, OutOfBits> {
        if let ([3, rest @ ..], 2) = (self.rest, self.zeros) {
            self.rest = rest;
            self.zeros = 0;
        }
        let (byte, rest) = self.rest.split_first().ok_or(self.out_of_bits())?;
        self.rest = rest;
        self.zeros = if *byte == 0 {
            (self.zeros + 1).min(2)
        } else {
            0
        };
        Ok(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_code_is_found_wherever_it_lies() {
        let cases: [(usize, &[u8], Option<usize>); 12] = [
            (0, &[], None),
            (0, &[1], None),
            (1, &[1], None),
            (2, &[1], Some(0)),
            (9, &[1], Some(0)),
            (1, &[0, 1], Some(1)),
            (0, &[0, 1], None),
            (0, &[0, 0, 1], Some(2)),
            (0, &[0, 0, 0, 1], Some(3)),
            (0, &[9, 9, 0, 0, 1], Some(4)),
            (0, &[9, 0, 0, 2, 0, 1, 0, 0, 3, 1], None),
            (0, &[9, 9, 9, 9, 0, 0, 1, 0, 0, 1], Some(6)),
        ];
        for (zeros, data, expected) in cases {
            assert_eq!(find_start_code(zeros, data), expected, "{zeros} {data:?}");
        }
    }

    #[test]
    fn a_start_code_is_found_at_every_offset() {
        for at in 0..40 {
            for filler in [0xff, 1, 2] {
                let mut data = [filler; 44];
                data[at..at + 3].copy_from_slice(&[0, 0, 1]);
                assert_eq!(find_start_code(0, &data), Some(at + 2));
                for split in 0..data.len() {
                    let (head, tail) = data.split_at(split);
                    let zeros = zeros_at_end(0, head);
                    let expected = (split <= at + 2).then(|| at + 2 - split);
                    assert_eq!(find_start_code(zeros, tail), expected);
                }
            }
        }
    }

    #[test]
    fn gw_security_start_codes_around_and_behind_a_set_are_left_out() {
        let data = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 0, 1];
        let found: Vec<_> = units(&data).collect();
        assert_eq!(found, [&[0x67, 1, 2][..], &[0x68, 3]]);
        assert_eq!(units(&[0x67, 1, 0, 0]).collect::<Vec<_>>(), [[0x67, 1]]);
        assert_eq!(units(&[0, 0, 0]).count(), 0);
    }

    #[test]
    fn exp_golomb_codes_are_read_to_the_end_and_no_further() {
        // 1, 010, 011, 00100, 1 -> ue 0, 1, 2, 3, 0
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_1000]);
        let values: Vec<_> = (0..5).map(|_| bits.unsigned().unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 0]);
        assert_eq!(bits.position(), 13);
        assert_eq!(bits.unsigned(), Err(OutOfBits { at: 16 }));
        // 1, 010, 011, 00100, 00101 -> se 0, 1, -1, 2, -2
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.signed().unwrap()).collect();
        assert_eq!(values, [0, 1, -1, 2, -2]);
        assert_eq!(
            BitReader::new(&[0, 0, 0, 0, 0xff]).unsigned(),
            Err(OutOfBits { at: 32 })
        );
        let largest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(BitReader::new(&largest).unsigned(), Ok(u32::MAX - 1));
    }

    #[test]
    fn emulation_prevention_bytes_are_left_out() {
        let mut bits = BitReader::new(&[0, 0, 3, 1, 0, 0, 3, 0, 3, 0, 0, 3]);
        let bytes: Vec<_> = core::iter::from_fn(|| bits.byte().ok()).collect();
        assert_eq!(bytes, [0, 0, 1, 0, 0, 0, 3, 0, 0]);
    }

    #[test]
    fn slice_headers_and_recovery_points_are_told_apart() {
        // first_mb 0, then slice_type 7 (I), 5 (P), 0 (P)
        for (rest, first, intra) in [
            (&[0b1000_1000, 0x80][..], true, true),
            (&[0b1001_1000], true, false),
            (&[0b1100_0000], true, false),
            (&[0b0100_0010, 0], false, true),
            (&[], true, false),
        ] {
            assert_eq!(is_first_slice(rest), first, "{rest:?}");
            assert_eq!(is_intra(rest), intra, "{rest:?}");
        }
        for (rest, expected) in [
            (&[6, 1, 0xc4, 0x80][..], true),
            (&[6, 1, 0x44, 0x80], false),
            (&[5, 3, 6, 1, 0xc4, 6, 1, 0xc4, 0x80], true),
            (&[5, 0xff, 0, 6, 1, 0xc4], false),
            (&[5, 3, 6, 1, 0xc4, 0x80], false),
            (&[6], false),
            (&[], false),
        ] {
            assert_eq!(has_recovery_point(rest), expected, "{rest:?}");
        }
    }
}
