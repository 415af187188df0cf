//! Headers of SETUP and PLAY answers: Session, Transport, RTP-Info, Public (RFC 2326 section 12).
//!
//! Read by hand: `rtsp-types` keeps white space in session ids and fails on `timeout=60s`.

use core::time::Duration;

/// Timeout of a session where the camera names none (RFC 2326 section 12.37).
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The Session header: `9a90de54; timeout=120`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionHeader {
    pub(super) id: String,
    pub(super) timeout: Duration,
}

impl SessionHeader {
    /// None if there is no id. A timeout of 0, or one that is no number, counts as none.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let id = parts.next().filter(|id| !id.is_empty())?.to_owned();
        let timeout = parts
            .filter_map(|part| parameter(part, "timeout"))
            .filter_map(leading_number)
            .find(|&seconds| seconds > 0)
            .map_or(TIMEOUT_DEFAULT, Duration::from_secs);
        Some(Self { id, timeout })
    }
}

/// The Transport header of a SETUP answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TransportHeader {
    /// Channels of RTP and RTCP.
    pub(super) channels: Option<(u8, u8)>,
    /// The lower transport is not TCP.
    pub(super) udp: bool,
    pub(super) ssrc: Option<u32>,
}

impl TransportHeader {
    /// Reads the parameters in any order, with any spaces (Hikvision, Dahua: ` ssrc=`; Luckfox:
    /// `ssrc` first).
    pub(super) fn parse(value: &str) -> Self {
        let mut header = Self::default();
        for part in value.split([';', ',']).map(str::trim) {
            if let Some(value) = parameter(part, "interleaved") {
                header.channels = channels(value);
            } else if let Some(value) = parameter(part, "ssrc") {
                header.ssrc = u32::from_str_radix(value, 16).ok();
            } else if part.eq_ignore_ascii_case("RTP/AVP/UDP")
                || parameter(part, "server_port").is_some()
            {
                header.udp = true;
            }
        }
        header
    }
}

/// One track's entry of the RTP-Info header. A hint only: Hikvision DS-2CD2032-I says `seq=0`,
/// Tapo C320WS `seq=1`, whatever comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpInfo {
    /// Sequence number of the first packet.
    pub seq: Option<u16>,
    /// RTP time at which playing begins.
    pub rtptime: Option<u32>,
}

/// The RTP-Info entry of the track with control URL `url` and SDP attribute `control`, one of
/// `tracks` tracks. Numbers out of range (OMNY M5S2A: `rtptime` below 0) count as missing.
pub(super) fn rtp_info(value: &str, url: &str, control: &str, tracks: usize) -> RtpInfo {
    let entries = || rtp_info_entries(value);
    let exact = entries().find(|entry| entry.url == url);
    let ending = || {
        entries().find(|entry| {
            !control.is_empty()
                && entry
                    .url
                    .strip_suffix(control)
                    .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })
    };
    // GW Security GW4089IP: a wrong URL. Where there is one of each, it must be meant.
    let only = || {
        entries()
            .next()
            .filter(|_| tracks == 1 && entries().count() == 1)
    };
    exact
        .or_else(ending)
        .or_else(only)
        .map(|entry| entry.info)
        .unwrap_or_default()
}

/// The method is among those of a Public header.
pub(super) fn lists_method(public: &str, method: &str) -> bool {
    public
        .split([',', ' '])
        .any(|word| word.trim().eq_ignore_ascii_case(method))
}

struct RtpInfoEntry<'a> {
    url: &'a str,
    info: RtpInfo,
}

/// Entries begin with `url=`; the commas between them may stand in URLs too.
fn rtp_info_entries(value: &str) -> impl Iterator<Item = RtpInfoEntry<'_>> {
    let starts = |at: &usize| {
        let before = value.get(..*at).unwrap_or_default().trim_end();
        let here = value.get(*at..at.saturating_add(4)).unwrap_or_default();
        here.eq_ignore_ascii_case("url=") && (before.is_empty() || before.ends_with(','))
    };
    let mut at = (0..value.len()).filter(starts).peekable();
    core::iter::from_fn(move || {
        let from = at.next()?;
        let to = at.peek().copied().unwrap_or(value.len());
        let text = value.get(from..to)?.trim().trim_end_matches(',');
        let mut entry = RtpInfoEntry {
            url: "",
            info: RtpInfo::default(),
        };
        for part in text.split(';').map(str::trim) {
            if let Some(url) = parameter(part, "url") {
                entry.url = url.trim_matches('"');
            } else if let Some(seq) = parameter(part, "seq") {
                entry.info.seq = seq.parse().ok();
            } else if let Some(rtptime) = parameter(part, "rtptime") {
                entry.info.rtptime = rtptime.parse().ok();
            }
        }
        Some(entry)
    })
}

/// The value of `name=value`, trimmed; the name in any letter case.
pub(super) fn parameter<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = part.split_once('=')?;
    key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// `interleaved=2-3`; with one number only, RTCP is on the next channel.
fn channels(value: &str) -> Option<(u8, u8)> {
    let (rtp, rtcp) = match value.split_once('-') {
        Some((rtp, rtcp)) => (rtp.trim().parse().ok()?, rtcp.trim().parse().ok()?),
        None => {
            let rtp: u8 = value.parse().ok()?;
            (rtp, rtp.checked_add(1)?)
        }
    };
    (rtp != rtcp).then_some((rtp, rtcp))
}

/// `60`, `60s`.
fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_headers_are_read() {
        for (value, id, timeout) in [
            ("12345678", "12345678", 60),
            ("12345678;timeout=30", "12345678", 30),
            // GW Security.
            ("9a90de54; timeout=120", "9a90de54", 120),
            ("9a90de54 ;Timeout = 60s ", "9a90de54", 60),
            ("1;timeout=5", "1", 5),
            ("1;timeout=0", "1", 60),
            ("1;timeout=x;timeout=9", "1", 9),
            ("1;timeout=99999999999999999999999", "1", 60),
        ] {
            let header = SessionHeader::parse(value).unwrap();
            assert_eq!(header.id, id, "{value:?}");
            assert_eq!(header.timeout, Duration::from_secs(timeout), "{value:?}");
        }
        assert_eq!(SessionHeader::parse(" ;timeout=3"), None);
    }

    #[test]
    fn transport_headers_are_read() {
        let header = |channels, udp, ssrc| TransportHeader {
            channels,
            udp,
            ssrc,
        };
        for (value, expected) in [
            (
                "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=1A2B3C4D;mode=\"play\"",
                header(Some((0, 1)), false, Some(0x1A2B_3C4D)),
            ),
            (
                "RTP/AVP/TCP;unicast;interleaved=2-3; ssrc=  6c81e1f2",
                header(Some((2, 3)), false, Some(0x6c81_e1f2)),
            ),
            // Luckfox rkipc: ssrc first.
            (
                "ssrc=22345684;RTP/AVP/TCP;unicast;interleaved=0-1",
                header(Some((0, 1)), false, Some(0x2234_5684)),
            ),
            // Escam Q6: no TCP in the profile.
            (
                "RTP/AVP;unicast;destination=192.0.2.2;source=192.0.2.1;interleaved=4-5",
                header(Some((4, 5)), false, None),
            ),
            (
                "RTP/AVP/TCP;interleaved=6",
                header(Some((6, 7)), false, None),
            ),
            (
                "RTP/AVP/TCP;interleaved=0-256;ssrc=zz",
                header(None, false, None),
            ),
            ("RTP/AVP/TCP;interleaved=0-0", header(None, false, None)),
            (
                "RTP/AVP;unicast;client_port=1-2;server_port=3-4",
                header(None, true, None),
            ),
            ("", header(None, false, None)),
        ] {
            assert_eq!(TransportHeader::parse(value), expected, "{value:?}");
        }
    }

    #[test]
    fn rtp_info_is_matched_to_its_track() {
        let url = "rtsp://192.0.2.1/a/trackID=1";
        let info = |seq, rtptime| RtpInfo { seq, rtptime };
        for (value, tracks, expected) in [
            (
                "url=rtsp://192.0.2.1/a/trackID=0;seq=1;rtptime=2,\
                 url=rtsp://192.0.2.1/a/trackID=1;seq=3;rtptime=4",
                2,
                info(Some(3), Some(4)),
            ),
            // Only the control attribute; a comma in the URL.
            (
                "url=x,y;seq=1, url=trackID=1;seq=3;rtptime=4",
                2,
                info(Some(3), Some(4)),
            ),
            // Another host.
            (
                "URL=rtsp://10.0.0.1/b/trackID=1;seq=3",
                2,
                info(Some(3), None),
            ),
            (
                "url=rtsp://10.0.0.1/b/strackID=1;seq=3",
                2,
                info(None, None),
            ),
            // Laureii: a semicolon at the end.
            (
                "url=rtsp://192.0.2.1/a/trackID=1;seq=3;rtptime=4;",
                2,
                info(Some(3), Some(4)),
            ),
            // A wrong URL.
            (
                "url=rtsp://10.0.0.1/;seq=3;rtptime=4",
                1,
                info(Some(3), Some(4)),
            ),
            ("url=rtsp://10.0.0.1/;seq=3;rtptime=4", 2, info(None, None)),
            // OMNY M5S2A.
            (
                "url=rtsp://192.0.2.1/a/trackID=1;seq=99999;rtptime=-1234",
                1,
                info(None, None),
            ),
            ("", 1, info(None, None)),
            ("seq=3;rtptime=4", 1, info(None, None)),
        ] {
            assert_eq!(
                rtp_info(value, url, "trackID=1", tracks),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn methods_are_found_in_public() {
        assert!(lists_method(
            "OPTIONS, DESCRIBE,get_parameter",
            "GET_PARAMETER"
        ));
        assert!(!lists_method("OPTIONS, SET_PARAMETER", "GET_PARAMETER"));
    }
}
