//! Session descriptions (RFC 4566, RFC 2326 appendix C) as cameras write them.

use core::fmt;

use sdp_types::{Attribute, Media, Session};

use super::codec::{TrackCodec, aac, h264};
use crate::media::TrackKind;

/// Most media descriptions that are looked at.
const MEDIA_MAX: usize = 16;

/// RTP clock rate of all video (RFC 3551 section 5).
const VIDEO_CLOCK_RATE: u32 = 90_000;

/// What a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// Aggregate control: a URL, absolute or relative to the base URL; empty where there is none.
    pub control: String,
    /// Video and audio, in the camera's order, without back channels.
    pub tracks: Vec<MediaTrack>,
}

/// One track on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTrack {
    /// Video or audio.
    pub kind: TrackKind,
    /// What it carries.
    pub codec: TrackCodec,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// RTP ticks a second, above 0.
    pub clock_rate: u32,
    /// Control: a URL, absolute or relative to the base URL; empty where there is none.
    pub control: String,
}

impl SessionDescription {
    /// Reads the body of a DESCRIBE answer.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let clean = clean(body);
        let session = Session::parse(clean.as_bytes()).map_err(|_| SdpError::Malformed)?;
        if session.medias.is_empty() {
            return Err(SdpError::NoMedia);
        }
        let medias: Vec<&Media> = session.medias.iter().take(MEDIA_MAX).collect();
        let tracks = medias
            .iter()
            .filter(|media| !is_back_channel(media, &medias))
            .filter_map(|media| track(media, &medias))
            .collect();
        Ok(Self {
            control: attribute(&session.attributes, "control")
                .unwrap_or_default()
                .to_owned(),
            tracks,
        })
    }
}

/// Why a session description is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// It cannot be read.
    Malformed,
    /// It has no media description.
    NoMedia,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the camera's session description cannot be read",
            Self::NoMedia => {
                "the camera's session description names no media: check the path in rtspUrl"
            }
        })
    }
}

impl core::error::Error for SdpError {}

/// Leaves `m=` and `a=` lines only, in a form that `sdp-types` accepts: it fails on a missing
/// `v=` (gortsplib#448), several `s=` lines, a broken `c=` (go2rtc#1426), a port out of range and
/// text that is not UTF-8, all of which say nothing about the tracks.
fn clean(body: &[u8]) -> String {
    let mut clean = String::from("v=0\r\n");
    for line in body.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        match key.trim() {
            "a" if !value.trim().is_empty() => {
                clean.push_str("a=");
                clean.push_str(value.trim());
            }
            "m" => {
                // <media> <port> <proto> <fmt> ...
                let mut words = value.split_ascii_whitespace();
                let media = words.next().unwrap_or("unknown");
                clean.push_str("m=");
                clean.push_str(media);
                clean.push_str(" 0 RTP/AVP");
                for format in words.skip(2) {
                    clean.push(' ');
                    clean.push_str(format);
                }
                if value.split_ascii_whitespace().nth(3).is_none() {
                    clean.push_str(" -");
                }
            }
            _ => continue,
        }
        clean.push_str("\r\n");
    }
    clean
}

/// A track, unless it is neither video nor audio or has no payload type.
fn track(media: &Media, all: &[&Media]) -> Option<MediaTrack> {
    let kind = match &media.media {
        media if media.eq_ignore_ascii_case("video") => TrackKind::Video,
        media if media.eq_ignore_ascii_case("audio") => TrackKind::Audio,
        _ => return None,
    };
    let formats: Vec<Format> = payload_types(media)
        .map(|payload_type| Format::of(media, kind, payload_type))
        .collect();
    // Several formats of one track: the first that can be recorded.
    let codecs = formats
        .iter()
        .map(|format| (format, format.codec(media, all)));
    let (format, codec) = codecs
        .clone()
        .find(|(_, codec)| !matches!(codec, TrackCodec::Unsupported { .. }))
        .or_else(|| codecs.clone().next())?;
    Some(MediaTrack {
        kind,
        codec,
        payload_type: format.payload_type,
        clock_rate: format.clock_rate,
        control: attribute(&media.attributes, "control")
            .unwrap_or_default()
            .to_owned(),
    })
}

/// Those of the `m=` line; where it has none that is a number (TP-Link), those of `a=rtpmap`.
fn payload_types(media: &Media) -> impl Iterator<Item = u8> {
    let mut types: Vec<u8> = media
        .fmt
        .split_ascii_whitespace()
        .filter_map(payload_type)
        .collect();
    if types.is_empty() {
        types = attributes(&media.attributes, "rtpmap")
            .filter_map(|rtpmap| payload_type(rtpmap.split_ascii_whitespace().next()?))
            .collect();
    }
    types.into_iter()
}

/// One payload type of a track.
struct Format {
    payload_type: u8,
    /// Encoding name in upper case.
    name: String,
    clock_rate: u32,
    channels: u8,
}

impl Format {
    /// By its `a=rtpmap`, or by the static table of RFC 3551 section 6.
    fn of(media: &Media, kind: TrackKind, payload_type: u8) -> Self {
        let rtpmap = attributes(&media.attributes, "rtpmap")
            .find_map(|rtpmap| of_payload_type(rtpmap, payload_type))
            .or_else(|| static_rtpmap(payload_type))
            .unwrap_or_default();
        let mut parts = rtpmap.split('/').map(str::trim);
        let name = match parts.next() {
            None | Some("") => format!("payload type {payload_type}"),
            Some(name) => name.to_ascii_uppercase(),
        };
        let default = match kind {
            TrackKind::Video => VIDEO_CLOCK_RATE,
            TrackKind::Audio => 8_000,
        };
        Self {
            payload_type,
            name,
            clock_rate: parts
                .next()
                .and_then(|rate| rate.parse().ok())
                .filter(|&rate| rate > 0)
                .unwrap_or(default),
            channels: parts
                .next()
                .and_then(|channels| channels.parse().ok())
                .unwrap_or(1),
        }
    }

    fn codec(&self, media: &Media, all: &[&Media]) -> TrackCodec {
        match self.name.as_str() {
            "H264" => h264(self.fmtp(media, all)),
            "MPEG4-GENERIC" => aac(self.fmtp(media, all), self.clock_rate, self.channels),
            name => TrackCodec::Unsupported {
                name: name.to_owned(),
            },
        }
    }

    /// The `a=fmtp` of this payload type; where the media has none, one under another media that
    /// does not use this payload type itself (go2rtc, AlexxIT/WebRTC#419); else the only one of
    /// the media, whatever its number.
    fn fmtp<'a>(&self, media: &'a Media, all: &[&'a Media]) -> &'a str {
        let of = |media: &'a Media| {
            attributes(&media.attributes, "fmtp")
                .find_map(|fmtp| of_payload_type(fmtp, self.payload_type))
        };
        let elsewhere = || {
            all.iter()
                .filter(|other| payload_types(other).all(|other| other != self.payload_type))
                .find_map(|other| of(other))
        };
        let only = || {
            let mut all = attributes(&media.attributes, "fmtp");
            let fmtp = all.next().filter(|_| all.next().is_none())?;
            fmtp.split_once([' ', '\t']).map(|(_, fmtp)| fmtp)
        };
        of(media)
            .or_else(elsewhere)
            .or_else(only)
            .unwrap_or_default()
    }
}

/// ONVIF's back channel is audio that the camera would like to receive (`a=sendonly`). Cameras
/// that mark all they send so (mediamtx#5074, CV-RTSPHandler) have no back channel.
fn is_back_channel(media: &Media, all: &[&Media]) -> bool {
    let sendonly = |media: &Media| has_attribute(media, "sendonly");
    media.media.eq_ignore_ascii_case("audio")
        && sendonly(media)
        && !all.iter().all(|media| sendonly(media))
}

fn has_attribute(media: &Media, name: &str) -> bool {
    media
        .attributes
        .iter()
        .any(|attribute| attribute.attribute.trim().eq_ignore_ascii_case(name))
}

fn attribute<'a>(all: &'a [Attribute], name: &'a str) -> Option<&'a str> {
    attributes(all, name).next()
}

fn attributes<'a>(all: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    all.iter()
        .filter(move |attribute| attribute.attribute.trim().eq_ignore_ascii_case(name))
        .filter_map(|attribute| attribute.value.as_deref().map(str::trim))
}

/// What follows the payload type in an `a=rtpmap` or `a=fmtp`, if it is that of `payload_type`.
fn of_payload_type(text: &str, number: u8) -> Option<&str> {
    let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (payload_type(first)? == number).then(|| rest.trim())
}

fn payload_type(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|&number| number < 128)
}

fn static_rtpmap(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU/8000",
        3 => "GSM/8000",
        4 => "G723/8000",
        8 => "PCMA/8000",
        9 => "G722/8000",
        10 => "L16/44100/2",
        11 => "L16/44100/1",
        14 => "MPA/90000",
        18 => "G729/8000",
        26 => "JPEG/90000",
        31 => "H261/90000",
        32 => "MPV/90000",
        33 => "MP2T/90000",
        34 => "H263/90000",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, codec, payload type, clock rate and control of each track.
    fn shown(sdp: &str) -> Vec<String> {
        let description = SessionDescription::parse(sdp.as_bytes()).unwrap();
        description
            .tracks
            .iter()
            .map(|track| {
                let kind = match track.kind {
                    TrackKind::Video => "video",
                    TrackKind::Audio => "audio",
                };
                let sets = match &track.codec {
                    TrackCodec::H264 { sets, .. } => {
                        format!(" {}+{}", sets.sps.len(), sets.pps.len())
                    }
                    TrackCodec::Aac { description, .. } => format!(" {}", description.sample_rate),
                    TrackCodec::Unsupported { .. } => String::new(),
                };
                format!(
                    "{kind} {}{sets} {}@{} {}",
                    track.codec.name(),
                    track.payload_type,
                    track.clock_rate,
                    track.control
                )
            })
            .collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table, one row a camera")]
    fn descriptions_of_cameras_are_read() {
        for (camera, sdp, tracks) in [
            (
                "Dahua",
                "v=0\r\no=- 2252316233 2252316233 IN IP4 0.0.0.0\r\ns=Media Server\r\n\
                 c=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=packetization-supported:DH\r\n\
                 a=range:npt=now-\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\n\
                 a=framerate:15.000000\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:96 packetization-mode=1;profile-level-id=64001E;\
                 sprop-parameter-sets=Z0IAHqs=,aM48gA==\r\na=recvonly\r\n\
                 m=audio 0 RTP/AVP 97\r\na=control:trackID=1\r\n\
                 a=rtpmap:97 MPEG4-GENERIC/48000\r\n\
                 a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;\
                 indexlength=3;indexdeltalength=3;config=1188\r\na=recvonly\r\n\
                 m=application 0 RTP/AVP 107\r\na=control:trackID=4\r\n\
                 a=rtpmap:107 vnd.onvif.metadata/90000\r\na=recvonly\r\n",
                &[
                    "video H264 1+1 96@90000 trackID=0",
                    "audio MPEG4-GENERIC 48000 97@48000 trackID=1",
                ][..],
            ),
            (
                "macro-video: no o=, lines end with LF",
                "v=0\ns=x\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:a\n",
                &["video H264 0+0 96@90000 a"],
            ),
            (
                "no v=, several s=, a broken c=, junk",
                "s=a\r\ns=b\r\nc=IN IP4\r\nc=\r\n\r\njunk\r\nm=video 70000 RTP/AVP 96\r\nc=x\r\n\
                 b=AS:many\r\na=rtpmap:96 H264/90000\r\na=\r\n=x\r\na=control:a\r\n",
                &["video H264 0+0 96@90000 a"],
            ),
            (
                "Ubiquiti: an empty fmtp",
                "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/16000/1\r\na=fmtp:97\r\n\
                 m=video 0 RTP/AVP 99\r\na=rtpmap:99 h264/90000\r\na=fmtp:99 \r\n",
                &[
                    "audio MPEG4-GENERIC 16000 97@16000 ",
                    "video H264 0+0 99@90000 ",
                ],
            ),
            (
                "TP-Link: a payload type that is no number",
                "m=video 0 RTP/AVP 96\r\na=control:track1\r\na=rtpmap:96 H264/90000\r\n\
                 m=audio 0 RTP/AVP 8\r\na=control:track2\r\na=rtpmap:8 PCMA/8000\r\n\
                 m=application/TP-LINK 0 RTP/AVP smart/1/90000\r\na=rtpmap:95 TP-LINK/90000\r\n",
                &["video H264 0+0 96@90000 track1", "audio PCMA 8@8000 track2"],
            ),
            (
                "the same in a video track",
                "m=video 0 RTP/AVP H264/90000\r\na=rtpmap:96 H264/90000\r\n",
                &["video H264 0+0 96@90000 "],
            ),
            (
                "ipcam: white space in rtpmap",
                "m=video  0  RTP/AVP  96 \r\na=rtpmap: 96  H264/90000 \r\na=control: a \r\n",
                &["video H264 0+0 96@90000 a"],
            ),
            (
                "VStarcam: sprop-parameter-sets without base64",
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:96 packetization-mode=1;sprop-parameter-sets=?,*\r\n",
                &["video H264 0+0 96@90000 "],
            ),
            (
                "fmtp under the other track",
                "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\n\
                 a=fmtp:96 sprop-parameter-sets=Z0IAHqs=,aM48gA==\r\n\
                 m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:97 mode=AAC-hbr;config=1408\r\n",
                &[
                    "audio MPEG4-GENERIC 16000 97@16000 ",
                    "video H264 1+1 96@90000 ",
                ],
            ),
            (
                "VLC: both tracks with payload type 96",
                "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 mpeg4-generic/44100/2\r\n\
                 a=fmtp:96 mode=AAC-hbr; config=1210\r\na=control:rtsp://192.0.2.1/a/trackID=0\r\n\
                 m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:rtsp://192.0.2.1/a/trackID=1\r\n",
                &[
                    "audio MPEG4-GENERIC 44100 96@44100 rtsp://192.0.2.1/a/trackID=0",
                    "video H264 0+0 96@90000 rtsp://192.0.2.1/a/trackID=1",
                ],
            ),
            (
                "fmtp with another number",
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:97 sprop-parameter-sets=Z0IAHqs=,aM48gA==\r\n",
                &["video H264 1+1 96@90000 "],
            ),
            (
                "static payload types, several formats, none at all",
                "m=video 0 RTP/AVP 26\r\nm=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 98 96\r\n\
                 a=rtpmap:98 H265/90000\r\na=rtpmap:96 H264\r\nm=video 0 RTP/AVP 100\r\n\
                 m=audio 0 RTP/AVP\r\nm=audio\r\nm=\r\nm=audio 0 RTP/AVP 200\r\n",
                &[
                    "video JPEG 26@90000 ",
                    "audio PCMU 0@8000 ",
                    "video H264 0+0 96@90000 ",
                    "video payload type 100 100@90000 ",
                ],
            ),
            (
                "ONVIF back channel",
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=recvonly\r\n\
                 m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\na=recvonly\r\n\
                 m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendonly\r\n",
                &[
                    "video H264 0+0 96@90000 ",
                    "audio MPEG4-GENERIC 16000 97@16000 ",
                ],
            ),
            (
                "CV-RTSPHandler: sendonly video is no back channel",
                "m=video 0 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\na=sendonly\r\n\
                 m=audio 0 RTP/AVP 127\r\na=rtpmap:127 mpeg4-generic/8000/1\r\n\
                 a=fmtp:127 mode=AAC-hbr; config=1588\r\na=sendonly\r\n",
                &[
                    "video H264 0+0 99@90000 ",
                    "audio MPEG4-GENERIC 8000 127@8000 ",
                ],
            ),
        ] {
            assert_eq!(shown(sdp), tracks, "{camera}");
        }
    }

    #[test]
    fn the_aggregate_control_is_the_sessions() {
        let with = "a=control:rtsp://192.0.2.1/a/\r\nm=video 0 RTP/AVP 96\r\na=control:b\r\n";
        let without = "m=video 0 RTP/AVP 96\r\na=control:b\r\n";
        for (sdp, control) in [(with, "rtsp://192.0.2.1/a/"), (without, "")] {
            let description = SessionDescription::parse(sdp.as_bytes()).unwrap();
            assert_eq!(description.control, control);
        }
    }

    #[test]
    fn a_description_without_media_is_an_error() {
        for body in ["", "v=0\r\n", "<html></html>"] {
            let result = SessionDescription::parse(body.as_bytes());
            assert_eq!(result, Err(SdpError::NoMedia), "{body:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_and_endless_media_are_survived() {
        let mut body = b"s=\x83J\xff\r\n".to_vec();
        body.extend(b"m=audio 0 RTP/AVP 0\r\na=\xff:\xff\r\n".repeat(100));
        let description = SessionDescription::parse(&body).unwrap();
        assert_eq!(description.tracks.len(), MEDIA_MAX);
    }
}
