//! Which of a camera's tracks are recorded.

use super::codec::TrackCodec;
use super::error::SessionError;
use super::event::{IgnoreReason, SessionEvent};
use super::sdp::MediaTrack;
use crate::media::TrackKind;

/// The tracks to set up, in this order, and an event for each that is left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) tracks: Vec<MediaTrack>,
    pub(super) ignored: Vec<SessionEvent>,
}

impl Selection {
    /// The first H.264 track, then the first AAC track. Video that is no H.264 is an error: a
    /// recording of sound alone is not what was asked for. Audio without any video is recorded.
    pub(super) fn of(all: Vec<MediaTrack>) -> Result<Self, SessionError> {
        let (mut video, mut audio) = (None, None);
        let mut ignored = Vec::new();
        for track in all {
            let (slot, recordable) = match track.kind {
                TrackKind::Video => (&mut video, matches!(track.codec, TrackCodec::H264 { .. })),
                TrackKind::Audio => (&mut audio, matches!(track.codec, TrackCodec::Aac { .. })),
            };
            if recordable && slot.is_none() {
                *slot = Some(track);
                continue;
            }
            ignored.push(SessionEvent::TrackIgnored {
                kind: track.kind,
                codec: track.codec.name().to_owned(),
                reason: if recordable {
                    IgnoreReason::Further
                } else {
                    IgnoreReason::Codec
                },
            });
        }
        let other_video = ignored.iter().find_map(|event| match event {
            SessionEvent::TrackIgnored {
                kind: TrackKind::Video,
                codec,
                ..
            } => Some(codec),
            _ => None,
        });
        match (&video, other_video) {
            (None, Some(codec)) => Err(SessionError::VideoUnsupported {
                codec: codec.clone(),
            }),
            (None, None) if audio.is_none() => Err(SessionError::NoTrack),
            _ => Ok(Self {
                tracks: video.into_iter().chain(audio).collect(),
                ignored,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::codec::{aac, h264};

    fn track(name: &str, control: &str) -> MediaTrack {
        let (kind, codec) = match name {
            "H264" => (TrackKind::Video, h264("")),
            "AAC" => (TrackKind::Audio, aac("", 16_000, 1)),
            name => (
                if name == "PCMA" {
                    TrackKind::Audio
                } else {
                    TrackKind::Video
                },
                TrackCodec::Unsupported {
                    name: name.to_owned(),
                },
            ),
        };
        MediaTrack {
            kind,
            codec,
            payload_type: 96,
            clock_rate: 90_000,
            control: control.to_owned(),
        }
    }

    #[test]
    fn video_comes_first_and_the_rest_is_told() {
        // Offered, set up, left out.
        for (offered, chosen, left_out) in [
            (&["H264"][..], &["0"][..], &[][..]),
            (&["AAC", "H264"], &["1", "0"], &[]),
            (&["H264", "PCMA"], &["0"], &["PCMA Codec"]),
            (&["H264", "PCMA", "AAC"], &["0", "2"], &["PCMA Codec"]),
            (
                &["H265", "H264", "H264"],
                &["1"],
                &["H265 Codec", "H264 Further"],
            ),
            (&["AAC"], &["0"], &[]),
        ] {
            let all = offered.iter().enumerate();
            let all = all.map(|(i, name)| track(name, &i.to_string())).collect();
            let selection = Selection::of(all).unwrap();
            let controls: Vec<_> = selection
                .tracks
                .iter()
                .map(|track| &*track.control)
                .collect();
            assert_eq!(controls, chosen, "{offered:?}");
            let ignored: Vec<String> = selection
                .ignored
                .iter()
                .map(|event| match event {
                    SessionEvent::TrackIgnored { codec, reason, .. } => {
                        format!("{codec} {reason:?}")
                    }
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(ignored, left_out, "{offered:?}");
        }
    }

    #[test]
    fn a_camera_without_usable_tracks_is_an_error() {
        let unsupported = |codec: &str| SessionError::VideoUnsupported {
            codec: codec.to_owned(),
        };
        for (offered, error) in [
            (&["JPEG", "AAC"][..], unsupported("JPEG")),
            (&["H265"], unsupported("H265")),
            (&["PCMA"], SessionError::NoTrack),
            (&[], SessionError::NoTrack),
        ] {
            let all = offered.iter().map(|name| track(name, "")).collect();
            assert_eq!(Selection::of(all), Err(error), "{offered:?}");
        }
    }
}
