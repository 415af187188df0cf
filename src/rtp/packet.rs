//! RTP packet, read in place (RFC 3550 section 5.1).

use core::fmt;

/// Bytes of the header without CSRC list and extension.
const FIXED_HEADER: usize = 12;

/// A view of one RTP packet. CSRC list, extension and padding are checked and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// By most payload formats, set on the last packet of an access unit.
    pub marker: bool,
    /// What the SDP gave the format, 0 to 127.
    pub payload_type: u8,
    /// Counts packets, wraps.
    pub sequence: u16,
    /// Sampling instant in the track's RTP clock, wraps.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
    /// What the payload format defines; may be empty.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the packet that fills `data`.
    pub fn parse(data: &'a [u8]) -> Result<Self, PacketError> {
        let truncated = PacketError::Truncated { len: data.len() };
        let (header, rest) = data.split_first_chunk::<FIXED_HEADER>().ok_or(truncated)?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if first >> 6 != 2 {
            return Err(PacketError::Version {
                version: first >> 6,
            });
        }
        let csrc_list = usize::from(first & 0x0f) * 4;
        let mut payload = rest.get(csrc_list..).ok_or(truncated)?;
        if first & 0x10 != 0 {
            let ([_, _, l0, l1], rest) = payload.split_first_chunk().ok_or(truncated)?;
            let words = usize::from(u16::from_be_bytes([*l0, *l1]));
            payload = rest.get(words * 4..).ok_or(truncated)?;
        }
        if first & 0x20 != 0 {
            let padding = payload.last().copied().unwrap_or(0);
            payload = match payload.len().checked_sub(usize::from(padding)) {
                Some(len) if padding > 0 => payload.get(..len).unwrap_or_default(),
                _ => return Err(PacketError::Padding { at: data.len() - 1 }),
            };
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload,
        })
    }
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The header says more than there is.
    Truncated {
        /// Bytes there are.
        len: usize,
    },
    /// Not version 2.
    Version {
        /// The version at byte 0.
        version: u8,
    },
    /// More padding than payload, or none where there should be some.
    Padding {
        /// Where the count stands.
        at: usize,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len } => write!(f, "RTP header does not end within {len} bytes"),
            Self::Version { version } => write!(f, "RTP version {version} at byte 0, not 2"),
            Self::Padding { at } => write!(f, "RTP padding count at byte {at} is wrong"),
        }
    }
}

impl core::error::Error for PacketError {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 12] = [0x80, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 0xa, 0xb, 0xc, 0xd];

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut data = HEADER.to_vec();
        data[0] = first;
        data.extend(rest);
        data
    }

    #[test]
    fn a_plain_packet_has_all_its_fields() {
        let data = packet(0x80, &[7, 8]);
        assert_eq!(
            Packet::parse(&data),
            Ok(Packet {
                marker: true,
                payload_type: 96,
                sequence: 0x1234,
                timestamp: 0x0102_0304,
                ssrc: 0x0a0b_0c0d,
                payload: &[7, 8],
            })
        );
    }

    #[test]
    fn the_payload_is_what_header_and_padding_leave() {
        let cases: [(u8, &[u8], &[u8]); 6] = [
            (0x80, &[], &[]),
            (0x82, &[0, 0, 0, 1, 0, 0, 0, 2, 7], &[7]),
            (0x90, &[0xab, 0xac, 0, 1, 1, 1, 1, 1, 7], &[7]),
            (0x90, &[0xab, 0xac, 0, 0, 7], &[7]),
            (0xa0, &[7, 0, 2], &[7]),
            (0xb1, &[0, 0, 0, 1, 0xab, 0xac, 0, 0, 7, 1], &[7]),
        ];
        for (first, rest, payload) in cases {
            let data = packet(first, rest);
            assert_eq!(Packet::parse(&data).unwrap().payload, payload, "{data:x?}");
        }
    }

    #[test]
    fn a_header_that_lies_is_an_error() {
        let truncated = |len| Err(PacketError::Truncated { len });
        let cases: [(u8, &[u8], Result<(), PacketError>); 7] = [
            (0x40, &[], Err(PacketError::Version { version: 1 })),
            (0x81, &[0, 0, 0], truncated(15)),
            (0x90, &[0, 0, 0], truncated(15)),
            (0x90, &[0, 0, 0, 1, 7, 7, 7], truncated(19)),
            (0xa0, &[], Err(PacketError::Padding { at: 11 })),
            (0xa0, &[7, 0], Err(PacketError::Padding { at: 13 })),
            (0xa0, &[7, 3], Err(PacketError::Padding { at: 13 })),
        ];
        for (first, rest, expected) in cases {
            let data = packet(first, rest);
            assert_eq!(Packet::parse(&data).map(drop), expected, "{data:x?}");
        }
        for len in 0..FIXED_HEADER {
            assert_eq!(Packet::parse(&HEADER[..len]).map(drop), truncated(len));
        }
    }
}
