//! What the bytes of a connection look like at the beginning of a frame.

use crate::limits::RTSP_HEAD_MAX;

/// What the first bytes look like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Too few to tell.
    Unclear,
    Garbage,
    Packet {
        channel: u8,
        length: usize,
    },
    Message,
    /// An HTTP answer: this is no RTSP port.
    Http,
}

/// Judges by the first bytes. With `doubt` (among garbage), a packet must be on one of `channels`
/// and carry version 2 of RTP or RTCP, and a message must be a response.
pub(super) fn start_of(bytes: &[u8], channels: &[u8], doubt: bool) -> Start {
    match bytes {
        [] => Start::Unclear,
        [b'$', rest @ ..] if doubt => match rest {
            [channel, ..] if !channels.contains(channel) => Start::Garbage,
            [channel, high, low, first, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length >= 8 && first >> 6 == 2 {
                    Start::Packet {
                        channel: *channel,
                        length,
                    }
                } else {
                    Start::Garbage
                }
            }
            _ => Start::Unclear,
        },
        [b'$', channel, high, low, ..] => Start::Packet {
            channel: *channel,
            length: usize::from(u16::from_be_bytes([*high, *low])),
        },
        [b'$', ..] => Start::Unclear,
        _ => start_of_text(bytes, doubt),
    }
}

fn start_of_text(bytes: &[u8], doubt: bool) -> Start {
    const STATUS_LINE: &[u8] = b"RTSP/1.";
    const HTTP: &[u8] = b"HTTP/1.";
    for (prefix, start) in [(STATUS_LINE, Start::Message), (HTTP, Start::Http)] {
        if bytes.starts_with(prefix) {
            return if doubt && start == Start::Http {
                Start::Garbage
            } else {
                start
            };
        }
        if prefix.starts_with(bytes) {
            return Start::Unclear;
        }
    }
    if doubt {
        return Start::Garbage;
    }
    // A request of the camera: METHOD URL RTSP/1.0. The longest method is GET_PARAMETER.
    let method = bytes
        .iter()
        .take(17)
        .take_while(|byte| byte.is_ascii_uppercase() || **byte == b'_')
        .count();
    match bytes.get(method) {
        None if method <= 16 => Start::Unclear,
        Some(b' ') if (1..=16).contains(&method) => match bytes.split(|&b| b == b'\n').next() {
            Some(line) if line.len() == bytes.len() && line.len() <= RTSP_HEAD_MAX => {
                Start::Unclear
            }
            Some(line) if line.windows(7).any(|word| word == STATUS_LINE) => Start::Message,
            _ => Start::Garbage,
        },
        _ => Start::Garbage,
    }
}

/// Length of the head with its empty line; lines end with CR LF or a bare LF.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for (at, byte) in bytes.iter().enumerate().take(RTSP_HEAD_MAX + 1) {
        if *byte == b'\n' {
            let line = bytes.get(line_start..at)?;
            if line.is_empty() || line == b"\r" {
                return Some(at + 1);
            }
            line_start = at + 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [u8; 2] = [0, 1];

    #[test]
    fn beginnings_are_told_apart() {
        let packet = |channel, length| Start::Packet { channel, length };
        // The bytes, then what they are where a frame is due, and among garbage.
        for (bytes, due, doubtful) in [
            (&b""[..], Start::Unclear, Start::Unclear),
            (b"$", Start::Unclear, Start::Unclear),
            (b"$\x00\x00\x08", packet(0, 8), Start::Unclear),
            (b"$\x00\x00\x08\x80", packet(0, 8), packet(0, 8)),
            (b"$\x00\x00\x07\x80", packet(0, 7), Start::Garbage),
            (b"$\x00\x00\x08\x40", packet(0, 8), Start::Garbage),
            (b"$\x07\x00\x08\x80", packet(7, 8), Start::Garbage),
            (b"RTSP/", Start::Unclear, Start::Unclear),
            (b"RTSP/1.0 200 OK", Start::Message, Start::Message),
            (b"HTTP/1.1 400", Start::Http, Start::Garbage),
            (b"GET_PARAM", Start::Unclear, Start::Garbage),
            (b"OPTIONS * RTSP/1.0", Start::Unclear, Start::Garbage),
            (b"OPTIONS * RTSP/1.0\r\n", Start::Message, Start::Garbage),
            (b"OPTIONS * HTTP/1.0\r\n", Start::Garbage, Start::Garbage),
            (b"SEVENTEEN_LETTERS *", Start::Garbage, Start::Garbage),
            (b"options", Start::Garbage, Start::Garbage),
            (b"\xff", Start::Garbage, Start::Garbage),
        ] {
            let shown = bytes.escape_ascii();
            assert_eq!(start_of(bytes, &CHANNELS, false), due, "{shown}");
            assert_eq!(start_of(bytes, &CHANNELS, true), doubtful, "{shown}");
        }
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        for (bytes, length) in [
            (&b""[..], None),
            (b"a\r\nb\r\n", None),
            (b"a\r\nb\r\n\r\nc", Some(8)),
            (b"a\nb\n\nc", Some(5)),
            (b"a\r\n\n", Some(4)),
        ] {
            assert_eq!(head_length(bytes), length, "{}", bytes.escape_ascii());
        }
        assert_eq!(head_length(&[b'a'; RTSP_HEAD_MAX + 2]), None);
    }
}
