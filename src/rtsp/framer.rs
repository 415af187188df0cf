//! Cuts the bytes of a connection into interleaved packets and RTSP messages (RFC 2326
//! sections 4 and 10.12).
//!
//! One buffer, taken at construction: interleaved packets are handed out where they lie. Heads
//! and bodies are bounded before they are waited for. Between packets, garbage is skipped up to a
//! bound; it shows when a camera drops bytes inside a packet because we were slow (go2rtc#236).

use core::fmt;
use core::ops::Range;

use super::message::{self, Incoming, Request, Response};
use super::start::{Start, head_length, start_of};
use crate::limits::{FRAMER_BUFFER, RTSP_BODY_MAX, RTSP_HEAD_MAX};

/// Most bytes skipped between two frames before the connection is given up: some seconds of
/// video, so that one lost packet boundary in a large picture is survived.
const SKIP_MAX: usize = 1024 * 1024;

/// Channels of the tracks, RTP and RTCP of both.
const CHANNELS_MAX: usize = 4;

/// A whole frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An RTP or RTCP packet.
    Interleaved {
        /// Its channel.
        channel: u8,
        /// The packet itself.
        data: &'a [u8],
    },
    /// An answer of the camera.
    Response(Response),
    /// A request of the camera.
    Request(Request),
}

/// The receiving side of one connection.
pub struct Framer {
    buffer: Box<[u8]>,
    /// The bytes received and not yet handed out.
    filled: Range<usize>,
    /// Position of `filled.start` in the connection.
    offset: u64,
    channels: heapless::Vec<u8, CHANNELS_MAX>,
    /// Bytes skipped since the last frame; above 0 a frame must look right to be believed.
    skipping: usize,
    skipped: u64,
}

impl Framer {
    /// Takes the buffer; [`FRAMER_BUFFER`] bytes.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; FRAMER_BUFFER].into_boxed_slice(),
            filled: 0..0,
            offset: 0,
            channels: heapless::Vec::new(),
            skipping: 0,
            skipped: 0,
        }
    }

    /// Begins anew with another connection.
    pub fn reset(&mut self) {
        self.filled = 0..0;
        (self.offset, self.skipping, self.skipped) = (0, 0, 0);
        self.channels.clear();
    }

    /// The channels on which packets are expected; what is found among garbage is believed only
    /// on these. Channels past the fourth are left out.
    pub fn set_channels(&mut self, channels: impl IntoIterator<Item = u8>) {
        self.channels = channels.into_iter().take(CHANNELS_MAX).collect();
    }

    /// Bytes skipped as garbage since the connection began.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes in as much of `data` as there is room for, and says how much that was. After
    /// [`Self::next`] said none there is room for at least one byte.
    pub fn feed(&mut self, data: &[u8]) -> usize {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if data.len() > self.buffer.len() - self.filled.end {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        let n = data.len().min(self.buffer.len() - self.filled.end);
        let room = self.buffer.get_mut(self.filled.end..self.filled.end + n);
        if let (Some(to), Some(from)) = (room, data.get(..n)) {
            to.copy_from_slice(from);
        }
        self.filled.end += n;
        n
    }

    /// The next frame, or none until more bytes are fed. After an error the connection is of no
    /// more use.
    #[expect(
        clippy::should_implement_trait,
        reason = "the frame borrows from the framer, which no iterator can do"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FramerError> {
        loop {
            match self.judge()? {
                Found::Nothing => return Ok(None),
                Found::Blank(n) => self.take(n),
                Found::Garbage(n) => {
                    self.take(n);
                    self.skipping += n;
                    self.skipped += n as u64;
                    if self.skipping > SKIP_MAX {
                        return Err(self.error(FramerErrorKind::Garbage));
                    }
                }
                Found::Packet { channel, length } => {
                    let start = self.filled.start + 4;
                    self.take(4 + length);
                    self.skipping = 0;
                    let data = self.buffer.get(start..start + length).unwrap_or_default();
                    return Ok(Some(Frame::Interleaved { channel, data }));
                }
                Found::Message(incoming, length) => {
                    self.take(length);
                    self.skipping = 0;
                    return Ok(Some(match incoming {
                        Incoming::Response(response) => Frame::Response(response),
                        Incoming::Request(request) => Frame::Request(request),
                    }));
                }
            }
        }
    }

    /// What the unread bytes begin with.
    fn judge(&self) -> Result<Found, FramerError> {
        let unread = self.buffer.get(self.filled.clone()).unwrap_or_default();
        let blank = unread
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        if blank > 0 && self.skipping == 0 {
            return Ok(Found::Blank(blank));
        }
        match start_of(unread, &self.channels, self.skipping > 0) {
            Start::Unclear => Ok(Found::Nothing),
            Start::Garbage => Ok(Found::Garbage(self.garbage(unread))),
            Start::Packet { channel, length } if unread.len() >= 4 + length => {
                Ok(Found::Packet { channel, length })
            }
            Start::Packet { .. } => Ok(Found::Nothing),
            Start::Http => self.judge_http(unread),
            Start::Message => self.judge_message(unread),
        }
    }

    /// Bytes up to the next that may begin a frame.
    fn garbage(&self, unread: &[u8]) -> usize {
        (1..unread.len())
            .find(|&at| {
                let rest = unread.get(at..).unwrap_or_default();
                !matches!(start_of(rest, &self.channels, true), Start::Garbage)
            })
            .unwrap_or(unread.len())
    }

    fn judge_message(&self, unread: &[u8]) -> Result<Found, FramerError> {
        let Some(head) = head_length(unread) else {
            return if unread.len() > RTSP_HEAD_MAX {
                Err(self.error(FramerErrorKind::HeadTooLong))
            } else {
                Ok(Found::Nothing)
            };
        };
        if head > RTSP_HEAD_MAX {
            return Err(self.error(FramerErrorKind::HeadTooLong));
        }
        let (head, rest) = unread.split_at_checked(head).unwrap_or_default();
        let length = match message::content_length(head) {
            None | Some(b"") => 0,
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => core::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .filter(|&length: &usize| length <= RTSP_BODY_MAX)
                .ok_or_else(|| self.error(FramerErrorKind::BodyTooLong))?,
            Some(_) => return Err(self.error(FramerErrorKind::Malformed)),
        };
        let Some(body) = rest.get(..length) else {
            return Ok(Found::Nothing);
        };
        match message::parse(head, body) {
            Some(incoming) => Ok(Found::Message(incoming, head.len() + length)),
            None => Err(self.error(FramerErrorKind::Malformed)),
        }
    }

    fn judge_http(&self, unread: &[u8]) -> Result<Found, FramerError> {
        let Some(end) = unread.iter().position(|&byte| byte == b'\n') else {
            return if unread.len() > RTSP_HEAD_MAX {
                Err(self.error(FramerErrorKind::HeadTooLong))
            } else {
                Ok(Found::Nothing)
            };
        };
        let status = unread
            .get(..end)
            .unwrap_or_default()
            .split(|&byte| byte == b' ')
            .nth(1)
            .and_then(|status| core::str::from_utf8(status.trim_ascii()).ok())
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Err(self.error(FramerErrorKind::Http(status)))
    }

    fn take(&mut self, n: usize) {
        self.filled.start += n;
        self.offset += n as u64;
    }

    fn error(&self, kind: FramerErrorKind) -> FramerError {
        FramerError {
            kind,
            offset: self.offset,
        }
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("offset", &self.offset)
            .field("unread", &self.filled.len())
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// Why the bytes of a connection make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramerError {
    /// What is wrong.
    pub kind: FramerErrorKind,
    /// Where: bytes from the beginning of the connection.
    pub offset: u64,
}

/// See [`FramerError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramerErrorKind {
    /// A head longer than [`RTSP_HEAD_MAX`].
    HeadTooLong,
    /// A Content-Length above [`RTSP_BODY_MAX`].
    BodyTooLong,
    /// A head that cannot be read.
    Malformed,
    /// An HTTP answer, with its status code: this is no RTSP port.
    Http(u16),
    /// Too many bytes that belong to no frame.
    Garbage,
}

impl fmt::Display for FramerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match self.kind {
            FramerErrorKind::HeadTooLong => write!(
                f,
                "an RTSP head is longer than {RTSP_HEAD_MAX} bytes (byte {offset})"
            ),
            FramerErrorKind::BodyTooLong => write!(
                f,
                "an RTSP body is longer than {RTSP_BODY_MAX} bytes (byte {offset})"
            ),
            FramerErrorKind::Malformed => write!(f, "an RTSP head is malformed (byte {offset})"),
            FramerErrorKind::Http(status) => write!(
                f,
                "the camera answers with HTTP (status {status}, byte {offset}): \
                 check the port in rtspUrl"
            ),
            FramerErrorKind::Garbage => write!(
                f,
                "more than {SKIP_MAX} bytes are no RTSP (up to byte {offset}): \
                 check the port in rtspUrl"
            ),
        }
    }
}

impl core::error::Error for FramerError {}

/// What [`Framer::judge`] found.
enum Found {
    /// More bytes are needed.
    Nothing,
    /// Empty lines before a message.
    Blank(usize),
    Garbage(usize),
    Packet {
        channel: u8,
        length: usize,
    },
    Message(Incoming, usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test compares: packets, statuses, methods, and the error.
    fn frames(framer: &mut Framer, pieces: &[&[u8]]) -> (Vec<String>, Option<FramerError>) {
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let n = framer.feed(rest);
                assert!(n > 0, "no room");
                rest = &rest[n..];
                loop {
                    match framer.next() {
                        Ok(None) => break,
                        Ok(Some(frame)) => found.push(shown(&frame)),
                        Err(error) => return (found, Some(error)),
                    }
                }
            }
        }
        (found, None)
    }

    fn shown(frame: &Frame<'_>) -> String {
        match frame {
            Frame::Interleaved { channel, data } => {
                format!(
                    "${channel} {} {}",
                    data.len(),
                    data.iter().map(|&b| u64::from(b)).sum::<u64>()
                )
            }
            Frame::Response(response) => format!("{} {}", response.status, response.body.len()),
            Frame::Request(request) => format!("{} {}", request.method, request.body.len()),
        }
    }

    fn packet(channel: u8, length: u16) -> Vec<u8> {
        let mut packet = vec![b'$', channel];
        packet.extend(length.to_be_bytes());
        packet.extend((0..length).map(|i| if i == 0 { 0x80 } else { (i % 251) as u8 }));
        packet
    }

    #[test]
    fn a_connection_is_cut_the_same_wherever_it_is_split() {
        let bytes = [
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 5\r\n\r\nv=0\r\n".as_slice(),
            &packet(0, 40),
            b"\r\n\r\nRTSP/1.0 200\nCseq: 2 \n\n",
            &packet(7, 0),
            b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\n$\0\0",
            b"ANNOUNCE rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\n\r\n",
            &packet(1, 300),
        ]
        .concat();
        let expected = frames(&mut Framer::new(), &[&bytes]);
        let texts: Vec<&str> = expected.0.iter().map(String::as_str).collect();
        let sum = |n: u64| 0x80 + (1..n).map(|i| i % 251).sum::<u64>();
        assert_eq!(
            texts,
            [
                "200 5",
                &format!("$0 40 {}", sum(40)),
                "200 0",
                "$7 0 0",
                "GET_PARAMETER 3",
                "ANNOUNCE 0",
                &format!("$1 300 {}", sum(300)),
            ]
        );
        assert_eq!(expected.1, None);
        for at in 0..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(
                frames(&mut Framer::new(), &[head, tail]),
                expected,
                "split at {at}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(frames(&mut Framer::new(), &single), expected);
    }

    #[test]
    fn the_largest_packets_pass_through_the_buffer_again_and_again() {
        let bytes = packet(0, u16::MAX).repeat(9);
        for piece in [1000, 65_536, bytes.len()] {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            let (found, error) = frames(&mut Framer::new(), &pieces);
            assert_eq!((found.len(), error), (9, None), "{piece}");
        }
    }

    #[test]
    fn garbage_between_frames_is_skipped_and_counted() {
        let good = packet(0, 40);
        let dollars = [b"$\x09\0\x20".as_slice(), &[b'$'; 30]].concat();
        for garbage in [
            b"\0\x01\x02".as_slice(),
            b"rtsp $ nonsense\r\n\r\n",
            // The rest of a packet of which the beginning was lost; `$` inside.
            &[&[0x41], &packet(0, 300)[5..], b"$\x00\x00\x02ab", &[0x7f]].concat(),
            &[b"\xff", dollars.as_slice()].concat(),
            b"RTSX/1.0 200 OK\r\n",
            b"LOWER case * HTTP\r\n",
            b"AVERYLONGMETHODNAMEINDEED *",
        ] {
            let bytes = [&good, garbage, &good, b"RTSP/1.0 200 OK\r\n\r\n"].concat();
            for piece in [1, bytes.len()] {
                let mut framer = Framer::new();
                framer.set_channels([0, 1]);
                let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
                let (found, error) = frames(&mut framer, &pieces);
                assert_eq!((found.len(), error), (3, None), "{garbage:?}");
                assert_eq!(found[0], found[1], "{garbage:?}");
                assert_eq!(framer.skipped(), garbage.len() as u64, "{garbage:?}");
            }
        }
    }

    #[test]
    fn garbage_without_end_is_an_error() {
        let mut framer = Framer::new();
        let (found, error) = frames(&mut framer, &[&vec![0xff; 2 * SKIP_MAX]]);
        assert!(found.is_empty());
        let error = error.unwrap();
        assert_eq!(error.kind, FramerErrorKind::Garbage);
        assert!((SKIP_MAX as u64..=(SKIP_MAX + FRAMER_BUFFER) as u64).contains(&error.offset));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_at_its_position() {
        let long = format!("RTSP/1.0 200 OK\r\nX: {}", "y".repeat(RTSP_HEAD_MAX));
        let long_ended = format!("{long}\r\n\r\n");
        for (bytes, kind) in [
            (
                "RTSP/1.0 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                FramerErrorKind::BodyTooLong,
            ),
            (
                "RTSP/1.0 200 OK\r\nContent-Length: 49153\r\n\r\n",
                FramerErrorKind::BodyTooLong,
            ),
            (
                "RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
                FramerErrorKind::Malformed,
            ),
            ("RTSP/1.0 OK\r\n\r\n", FramerErrorKind::Malformed),
            ("HTTP/1.1 400 Bad Request\r\n", FramerErrorKind::Http(400)),
            ("HTTP/1.0 \r\n", FramerErrorKind::Http(0)),
            (&long, FramerErrorKind::HeadTooLong),
            (&long_ended, FramerErrorKind::HeadTooLong),
        ] {
            let bytes = [&packet(0, 40), bytes.as_bytes()].concat();
            for piece in [997, bytes.len()] {
                let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
                let (found, error) = frames(&mut Framer::new(), &pieces);
                assert_eq!(found.len(), 1);
                assert_eq!(error, Some(FramerError { kind, offset: 44 }));
            }
        }
    }

    #[test]
    fn any_channel_is_believed_between_whole_frames() {
        let mut framer = Framer::new();
        framer.set_channels([0, 1]);
        let (found, _) = frames(
            &mut framer,
            &[&packet(0, 9), &packet(200, 9), &packet(1, 9)],
        );
        assert_eq!(found.len(), 3);
        assert_eq!(framer.skipped(), 0);
    }

    #[test]
    fn a_new_connection_begins_at_offset_0() {
        let mut framer = Framer::new();
        frames(&mut framer, &[b"\xff\xffRTSP/1.0 200 OK\r\n"]);
        framer.reset();
        let (found, error) = frames(&mut framer, &[&packet(9, 9), b"HTTP/1.1 200 OK\n"]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            error.map(|error| error.offset),
            Some(13),
            "the second connection"
        );
        assert_eq!(framer.skipped(), 0);
    }

    #[test]
    fn noise_never_panics() {
        // A linear congruential generator (Knuth), biased towards what matters to the framer.
        let mut seed = 1_u64;
        let mut next = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33).to_le_bytes()[0]
        };
        let words: [&[u8]; 8] = [
            b"$",
            b"\0\0",
            b"RTSP/1.0 ",
            b"200\r\n",
            b"\r\n",
            b"OPTIONS * ",
            b"\x80",
            b"Content-Length: 3",
        ];
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..40)
                .flat_map(|_| match next() {
                    n @ 0..200 => words[usize::from(n % 8)].to_vec(),
                    n => vec![n],
                })
                .collect();
            let mut framer = Framer::new();
            framer.set_channels([0]);
            let (_, error) = frames(&mut framer, &[&bytes]);
            assert!(error.is_none_or(|error| error.offset <= bytes.len() as u64));
        }
    }
}
