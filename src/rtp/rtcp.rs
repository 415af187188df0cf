//! RTCP: sender reports and BYE in, receiver reports out (RFC 3550 section 6).
//!
//! Reports only help the timeline, so nothing in them is an error: reading stops where the
//! bytes make no sense.

use crate::rtp::sequence::Reception;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// What the recorder takes out of a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A sender report (RFC 3550 section 6.4.1).
    Sender(SenderReport),
    /// The source ends (RFC 3550 section 6.6).
    Bye {
        /// Which source; none where the packet is empty.
        ssrc: Option<u32>,
    },
}

/// One moment, on the camera's own clock and in a track's RTP time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The track's source.
    pub ssrc: u32,
    /// Seconds since 1900, 32.32 fixed point. 0: the camera has no clock.
    pub ntp: u64,
    /// The same moment in RTP time.
    pub rtp: u32,
}

/// The reports of a compound packet.
///
/// Tolerates, as cameras do it: a length that passes the end (Dahua), padding, any order of
/// packets, bytes after the last.
pub const fn reports(data: &[u8]) -> Reports<'_> {
    Reports { rest: data }
}

/// Iterator of [`reports`].
#[derive(Clone, Debug)]
pub struct Reports<'a> {
    rest: &'a [u8],
}

impl Iterator for Reports<'_> {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        loop {
            let ([first, kind, l0, l1], body) = self.rest.split_first_chunk()?;
            if first >> 6 != 2 {
                self.rest = &[];
                return None;
            }
            let words = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (body, rest) = body.split_at_checked(words * 4).unwrap_or((body, &[]));
            self.rest = rest;
            match *kind {
                SENDER_REPORT => {
                    if let Some(report) = sender_report(body) {
                        return Some(Report::Sender(report));
                    }
                }
                BYE => {
                    return Some(Report::Bye {
                        ssrc: body.first_chunk().map(|ssrc| u32::from_be_bytes(*ssrc)),
                    });
                }
                _ => {}
            }
        }
    }
}

fn sender_report(body: &[u8]) -> Option<SenderReport> {
    let (ssrc, rest) = body.split_first_chunk()?;
    let (ntp, rest) = rest.split_first_chunk()?;
    Some(SenderReport {
        ssrc: u32::from_be_bytes(*ssrc),
        ntp: u64::from_be_bytes(*ntp),
        rtp: u32::from_be_bytes(*rest.first_chunk()?),
    })
}

/// Bytes of a receiver report with its source description.
pub const RECEIVER_REPORT_LEN: usize = 32 + 16;

/// Writes a receiver report on one source, with the CNAME that RFC 3550 section 6.1 asks of
/// every compound packet. Returns its bytes: [`RECEIVER_REPORT_LEN`], or 0 if `out` is shorter.
///
/// Jitter and round trip are left at 0, "not known".
pub fn write_receiver_report(
    out: &mut [u8],
    own_ssrc: u32,
    sender_ssrc: u32,
    stats: Reception,
) -> usize {
    let Some(out) = out.first_chunk_mut::<RECEIVER_REPORT_LEN>() else {
        return 0;
    };
    let lost = stats.lost.min(0x007f_ffff);
    let words = [
        0x8100_0007 | u32::from(RECEIVER_REPORT) << 16,
        own_ssrc,
        sender_ssrc,
        u32::from(stats.fraction_lost) << 24 | lost,
        stats.highest,
        0,
        0,
        0,
        0x8100_0003 | u32::from(SOURCE_DESCRIPTION) << 16,
        own_ssrc,
        u32::from_be_bytes([1, 3, b'c', b'v']),
        u32::from_be_bytes([b'r', 0, 0, 0]),
    ];
    for (to, word) in out.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    out.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sender report and source description, in the form in which Dahua cameras send them.
    const DAHUA: [u8; 48] = [
        0x80, 200, 0, 6, 1, 1, 2, 2, 0xe9, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 1,
        0, 0, 0x81, 202, 0, 4, 1, 1, 2, 2, 1, 6, b'(', b'n', b'o', b'n', b'e', b')', 0, 0, 0, 0,
    ];
    const REPORT: Report = Report::Sender(SenderReport {
        ssrc: 0x0101_0202,
        ntp: 0xe900_0001_8000_0000,
        rtp: 0x1000,
    });

    fn read(data: &[u8]) -> Vec<Report> {
        reports(data).collect()
    }

    #[test]
    fn dahua_sender_report_is_read() {
        assert_eq!(read(&DAHUA), [REPORT]);
    }

    #[test]
    fn wrong_lengths_and_order_cost_nothing_that_is_there() {
        let mut too_long = DAHUA[..28].to_vec();
        too_long[3] = 60;
        assert_eq!(read(&too_long), [REPORT]);
        let description_first = [&DAHUA[28..], &DAHUA[..28]].concat();
        assert_eq!(read(&description_first), [REPORT]);
        let junk_behind = [&DAHUA[..], &[1, 2, 3, 4, 5]].concat();
        assert_eq!(read(&junk_behind), [REPORT]);
        let padded = [&[0xa0], &DAHUA[1..3], &[7], &DAHUA[4..28], &[0, 0, 0, 4]].concat();
        assert_eq!(read(&padded), [REPORT]);
        assert_eq!(read(&DAHUA[..19]), []);
        for len in 0..DAHUA.len() {
            assert_eq!(read(&DAHUA[..len]).len(), usize::from(len >= 20));
        }
    }

    #[test]
    fn bye_is_told_with_its_source() {
        let bye = [0x81, 203, 0, 1, 1, 2, 3, 4];
        let ssrc = Some(0x0102_0304);
        let compound = [&DAHUA[..28], &bye].concat();
        assert_eq!(read(&compound), [REPORT, Report::Bye { ssrc }]);
        assert_eq!(read(&[0x80, 203, 0, 0]), [Report::Bye { ssrc: None }]);
    }

    #[test]
    fn a_receiver_report_is_a_valid_compound_packet() {
        let mut out = [0xff; 64];
        let stats = Reception {
            fraction_lost: 64,
            lost: 0x0100_0000,
            highest: 0x0001_0005,
        };
        assert_eq!(write_receiver_report(&mut out, 0x11, 0x22, stats), 48);
        assert_eq!(out[..8], [0x81, 201, 0, 7, 0, 0, 0, 0x11]);
        assert_eq!(
            out[8..20],
            [0, 0, 0, 0x22, 64, 0x7f, 0xff, 0xff, 0, 1, 0, 5]
        );
        assert_eq!(out[20..32], [0; 12]);
        assert_eq!(out[32..40], [0x81, 202, 0, 3, 0, 0, 0, 0x11]);
        assert_eq!(out[40..48], [1, 3, b'c', b'v', b'r', 0, 0, 0]);
        assert_eq!(out[48..], [0xff; 16]);
        assert_eq!(write_receiver_report(&mut out[..47], 1, 2, stats), 0);
    }
}
