//! AAC over RTP (RFC 3640, mode AAC-hbr): packets to audio frames.

use core::fmt;

use crate::limits::AUDIO_FRAME_MAX;
use crate::rtp::packet::Packet;

/// What the SDP says about the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacFormat {
    /// `sizeLength`: bits of a frame's size, 1 to 16.
    pub size_length: u8,
    /// `indexLength`: bits of the first frame's index, 0 to 16.
    pub index_length: u8,
    /// `indexDeltaLength`: bits of every other frame's index, 0 to 16.
    pub index_delta_length: u8,
    /// RTP ticks of one frame.
    pub frame_length: u16,
}

/// One AAC access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFrame<'a> {
    /// RTP time of its first sample.
    pub timestamp: u32,
    /// `raw_data_block()`, without ADTS header.
    pub data: &'a [u8],
}

/// Depacketizer of one track in one RTSP session.
#[derive(Clone, Debug)]
pub struct Depacketizer {
    format: AacFormat,
    state: State,
    /// The part of a fragmented frame that is there.
    partial: heapless::Vec<u8, AUDIO_FRAME_MAX>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next packet begins a frame.
    Whole,
    /// `partial` is the beginning of a frame of `size` bytes.
    Fragment { timestamp: u32, size: usize },
    /// Packets were lost: a fragment that comes now may be of a frame without beginning.
    Loss,
    /// The fragments with this timestamp are of such a frame.
    Skip { timestamp: u32 },
}

impl Depacketizer {
    /// Refuses a format of which nothing could be read.
    pub const fn new(format: AacFormat) -> Result<Self, AacError> {
        let AacFormat {
            size_length,
            index_length,
            index_delta_length,
            ..
        } = format;
        if size_length == 0 || size_length > 16 || index_length > 16 || index_delta_length > 16 {
            return Err(AacError::Format);
        }
        Ok(Self {
            format,
            state: State::Whole,
            partial: heapless::Vec::new(),
        })
    }

    /// Packets are missing before the next one.
    pub const fn packets_lost(&mut self) {
        self.state = State::Loss;
    }

    /// Takes in the next packet and hands all frames that are complete to `sink`, in order.
    ///
    /// Tolerates ADTS headers before the frames, and ADTS frames alone in place of the payload.
    pub fn push(
        &mut self,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(AudioFrame<'_>),
    ) -> Result<(), AacError> {
        let payload = packet.payload;
        if payload.is_empty() {
            return Ok(());
        }
        if adts(payload).is_some_and(|len| len <= payload.len()) {
            self.push_adts(packet, sink);
            return Ok(());
        }
        let result = self.push_frames(packet, sink);
        if result.is_err() {
            self.state = State::Loss;
        }
        result
    }

    /// AU header section and AU data section (RFC 3640 section 3.2).
    fn push_frames(
        &mut self,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(AudioFrame<'_>),
    ) -> Result<(), AacError> {
        let truncated = |rest: &[u8]| AacError::Truncated {
            at: packet.payload.len() - rest.len(),
        };
        let (bits, rest) = packet
            .payload
            .split_first_chunk()
            .ok_or(truncated(packet.payload))?;
        let bits = usize::from(u16::from_be_bytes(*bits));
        let (headers, mut data) = rest
            .split_at_checked(bits.div_ceil(8))
            .ok_or(truncated(rest))?;
        let mut headers = Bits::new(headers, bits);
        let mut timestamp = packet.timestamp;
        let mut index_length = self.format.index_length;
        while headers.left > 0 {
            let size = headers.read(self.format.size_length);
            let size = size.ok_or(truncated(data))?;
            if headers.read(index_length).ok_or(truncated(data))? != 0 {
                return Err(AacError::Interleaved);
            }
            let only = timestamp == packet.timestamp && headers.left == 0;
            if only && size > data.len() {
                return self.push_fragment(packet, size, data, sink);
            }
            let (frame, behind) = data.split_at_checked(size).ok_or(truncated(data))?;
            self.state = State::Whole;
            deliver(timestamp, frame, sink);
            timestamp = timestamp.wrapping_add(u32::from(self.format.frame_length));
            index_length = self.format.index_delta_length;
            data = behind;
        }
        Ok(())
    }

    /// One fragment of a frame of `size` bytes (RFC 3640 section 3.2.3).
    fn push_fragment(
        &mut self,
        packet: &Packet<'_>,
        size: usize,
        data: &[u8],
        sink: &mut impl FnMut(AudioFrame<'_>),
    ) -> Result<(), AacError> {
        let timestamp = packet.timestamp;
        match self.state {
            State::Loss => self.state = State::Skip { timestamp },
            State::Skip { timestamp: skipped } if skipped == timestamp => {}
            fragment if fragment == (State::Fragment { timestamp, size }) => {}
            _ => {
                self.state = State::Fragment { timestamp, size };
                self.partial.clear();
            }
        }
        if matches!(self.state, State::Skip { .. }) {
            if packet.marker {
                self.state = State::Whole;
            }
            return Ok(());
        }
        let too_large = AacError::TooLarge { size };
        self.partial
            .extend_from_slice(data)
            .map_err(|_| too_large)?;
        if self.partial.len() > size {
            return Err(too_large);
        }
        if self.partial.len() == size {
            self.state = State::Whole;
            deliver(timestamp, &self.partial, sink);
        } else if packet.marker {
            let at = packet.payload.len();
            return Err(AacError::Truncated { at });
        }
        Ok(())
    }

    /// ADTS frames in place of the payload.
    fn push_adts(&mut self, packet: &Packet<'_>, sink: &mut impl FnMut(AudioFrame<'_>)) {
        self.state = State::Whole;
        let mut timestamp = packet.timestamp;
        let mut rest = packet.payload;
        while let Some((frame, behind)) = adts(rest).and_then(|len| rest.split_at_checked(len)) {
            deliver(timestamp, frame, sink);
            timestamp = timestamp.wrapping_add(u32::from(self.format.frame_length));
            rest = behind;
        }
    }
}

/// Why a packet could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AacError {
    /// The SDP's field lengths cannot be.
    Format,
    /// The payload ends early.
    Truncated {
        /// Byte of the payload at which more was expected.
        at: usize,
    },
    /// Frames out of order (RFC 3640 section 3.2.1.1): not supported.
    Interleaved,
    /// A frame larger than it says, or than any may be.
    TooLarge {
        /// What it says, bytes.
        size: usize,
    },
}

impl fmt::Display for AacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => write!(f, "AAC field lengths are not of AAC-hbr"),
            Self::Truncated { at } => write!(f, "AAC packet ends early, at byte {at}"),
            Self::Interleaved => write!(f, "interleaved AAC is not supported"),
            Self::TooLarge { size } => write!(f, "AAC frame of {size} bytes is too large"),
        }
    }
}

impl core::error::Error for AacError {}

/// Hands over a frame, without the ADTS header that some cameras leave on it. No raw frame
/// begins like one: it would begin with its end.
fn deliver(timestamp: u32, frame: &[u8], sink: &mut impl FnMut(AudioFrame<'_>)) {
    let data = match adts(frame) {
        Some(len) if len == frame.len() => frame.get(adts_header_len(frame)..),
        _ => Some(frame),
    };
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        sink(AudioFrame { timestamp, data });
    }
}

/// Length of the ADTS frame that begins here, header included, if one does and holds one
/// `raw_data_block()` (ISO/IEC 14496-3 section 1.A.3.2).
fn adts(data: &[u8]) -> Option<usize> {
    let [0xff, version, _, a, b, c, blocks] = *data.first_chunk()? else {
        return None;
    };
    let len = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c >> 5);
    (version & 0xf6 == 0xf0 && blocks & 3 == 0 && len >= adts_header_len(data)).then_some(len)
}

/// With a checksum two bytes more.
fn adts_header_len(data: &[u8]) -> usize {
    let protected = data.get(1).is_some_and(|byte| byte & 1 == 0);
    if protected { 9 } else { 7 }
}

/// Fields of the AU headers.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Bits<'a> {
    const fn new(data: &'a [u8], len: usize) -> Self {
        Self {
            data,
            at: 0,
            left: len,
        }
    }

    fn read(&mut self, count: u8) -> Option<usize> {
        self.left = self.left.checked_sub(usize::from(count))?;
        let mut value = 0;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | usize::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: AacFormat = AacFormat {
        size_length: 13,
        index_length: 3,
        index_delta_length: 3,
        frame_length: 1024,
    };

    type Frames = Vec<(u32, Vec<u8>)>;

    /// AU header section for frames of these sizes.
    fn headers(sizes: &[u16]) -> Vec<u8> {
        let bits = u16::try_from(sizes.len() * 16).unwrap();
        let fields = sizes.iter().flat_map(|size| (size << 3).to_be_bytes());
        bits.to_be_bytes().into_iter().chain(fields).collect()
    }

    fn push(
        depacketizer: &mut Depacketizer,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<Frames, AacError> {
        let packet = Packet {
            marker,
            payload_type: 97,
            sequence: 0,
            timestamp,
            ssrc: 0,
            payload,
        };
        let mut frames = Frames::new();
        depacketizer
            .push(&packet, &mut |frame| {
                frames.push((frame.timestamp, frame.data.to_vec()));
            })
            .map(|()| frames)
    }

    fn fragment(size: u16, data: &[u8]) -> Vec<u8> {
        [&headers(&[size]), data].concat()
    }

    #[test]
    fn each_frame_of_a_packet_has_its_own_time() {
        let mut aac = Depacketizer::new(FORMAT).unwrap();
        let payload = [&headers(&[2, 0, 3])[..], &[1, 2, 3, 4, 5]].concat();
        let expected = vec![(u32::MAX, vec![1, 2]), (2047, vec![3, 4, 5])];
        assert_eq!(push(&mut aac, u32::MAX, true, &payload), Ok(expected));
        assert_eq!(push(&mut aac, 7, true, &[]), Ok(vec![]));
        assert_eq!(push(&mut aac, 7, true, &[0, 0]), Ok(vec![]));
    }

    #[test]
    fn fragments_become_one_frame() {
        let mut aac = Depacketizer::new(FORMAT).unwrap();
        assert_eq!(push(&mut aac, 9, false, &fragment(5, &[1, 2])), Ok(vec![]));
        assert_eq!(push(&mut aac, 9, false, &fragment(5, &[3])), Ok(vec![]));
        let last = push(&mut aac, 9, true, &fragment(5, &[4, 5]));
        assert_eq!(last, Ok(vec![(9, vec![1, 2, 3, 4, 5])]));
    }

    #[test]
    fn a_lost_fragment_costs_one_frame() {
        let parts = [
            fragment(6, &[1, 2]),
            fragment(6, &[3, 4]),
            fragment(6, &[5, 6]),
        ];
        for lost in 0..parts.len() {
            for markers in [true, false] {
                let mut aac = Depacketizer::new(FORMAT).unwrap();
                for (i, part) in parts.iter().enumerate() {
                    if i == lost {
                        aac.packets_lost();
                        continue;
                    }
                    assert_eq!(push(&mut aac, 9, markers && i == 2, part), Ok(vec![]));
                }
                // Of the next frame the first fragment is known to be the first only if a
                // fragment came between.
                let next = if lost == 2 {
                    fragment(2, &[7, 8])
                } else {
                    fragment(3, &[7])
                };
                let whole = push(&mut aac, 10, lost == 2, &next).unwrap();
                assert_eq!(whole.len(), usize::from(lost == 2));
                let rest = push(&mut aac, 10, true, &fragment(3, &[8, 9]));
                if lost != 2 {
                    assert_eq!(rest, Ok(vec![(10, vec![7, 8, 9])]));
                }
            }
        }
    }

    #[test]
    fn adts_headers_are_stripped() {
        let mut aac = Depacketizer::new(FORMAT).unwrap();
        // Seven bytes, without checksum, then nine with it; two bytes of data each.
        let plain = [0xff, 0xf1, 0x50, 0x80, 1, 0x3f, 0xfc, 1, 2];
        let checked = [0xff, 0xf0, 0x50, 0x80, 1, 0x7f, 0xfc, 0, 0, 3, 4];
        let expected = vec![(5, vec![1, 2]), (1029, vec![3, 4])];
        let framed = [&headers(&[9, 11])[..], &plain, &checked].concat();
        assert_eq!(push(&mut aac, 5, true, &framed), Ok(expected.clone()));
        let bare = [&plain[..], &checked].concat();
        assert_eq!(push(&mut aac, 5, true, &bare), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_place() {
        let truncated = |at| Err(AacError::Truncated { at });
        let cases: [(&[u8], Result<Frames, AacError>); 7] = [
            (&[0], truncated(0)),
            (&[0, 16, 0], truncated(2)),
            (&[0, 17, 0, 0, 0], truncated(5)),
            (&[0, 32, 0, 8, 0, 16, 1, 2], truncated(7)),
            (&[0, 16, 0, 9, 1], Err(AacError::Interleaved)),
            (&[0, 32, 0, 8, 0, 9, 1, 2], Err(AacError::Interleaved)),
            (&[0, 16, 0, 16, 1], truncated(5)),
        ];
        for (payload, expected) in cases {
            let mut aac = Depacketizer::new(FORMAT).unwrap();
            assert_eq!(push(&mut aac, 0, true, payload), expected, "{payload:?}");
        }
        let mut aac = Depacketizer::new(FORMAT).unwrap();
        push(&mut aac, 0, false, &fragment(5, &[1, 2, 3])).unwrap();
        let size = Err(AacError::TooLarge { size: 5 });
        assert_eq!(push(&mut aac, 0, true, &fragment(5, &[4, 5, 6])), size);
    }

    #[test]
    fn field_lengths_that_cannot_be_are_refused() {
        for (size_length, index_length, index_delta_length) in [(0, 3, 3), (17, 3, 3), (13, 17, 3)]
        {
            let format = AacFormat {
                size_length,
                index_length,
                index_delta_length,
                ..FORMAT
            };
            assert_eq!(Depacketizer::new(format).err(), Some(AacError::Format));
        }
    }

    #[test]
    fn noise_never_panics_and_never_makes_a_frame_too_large() {
        let mut state = 1_u64;
        let mut random = |max: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % max
        };
        let mut aac = Depacketizer::new(FORMAT).unwrap();
        let mut frames = 0;
        for _ in 0..20_000 {
            let mut payload = vec![0; random(60)];
            payload.fill_with(|| u8::try_from(random(256)).unwrap());
            // Mostly one to three headers with small sizes.
            if let [first, second, rest @ ..] = &mut payload[..]
                && random(4) > 0
            {
                let count = 1 + random(3);
                (*first, *second) = (0, u8::try_from(16 * count).unwrap());
                for header in rest.chunks_exact_mut(2).take(count) {
                    header[0] = 0;
                    header[1] &= 0xf8;
                }
            }
            if random(20) == 0 {
                aac.packets_lost();
            }
            let timestamp = u32::try_from(random(3)).unwrap();
            let pushed = push(&mut aac, timestamp, random(3) == 0, &payload);
            for (_, data) in pushed.unwrap_or_default() {
                assert!(!data.is_empty() && data.len() <= AUDIO_FRAME_MAX);
                frames += 1;
            }
        }
        assert!(frames > 100, "{frames}");
    }
}
