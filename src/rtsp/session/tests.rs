//! Sessions with cameras played from scripts: each line is a request that must come and the
//! answer it gets.

use http_auth::{ChallengeParser, DigestClient, PasswordParams};

use super::*;
use crate::media::TrackKind;
use crate::rtsp::auth::AuthError;
use crate::rtsp::outgoing::{ANSWERS_MAX, REQUEST_TIMEOUT, USER_AGENT};
use crate::rtsp::{Frame, Framer};

const SDP: &str = "v=0\r\ns=x\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                   a=control:trackID=1\r\nm=audio 0 RTP/AVP 97\r\n\
                   a=rtpmap:97 MPEG4-GENERIC/16000\r\na=fmtp:97 mode=AAC-hbr;config=1408\r\n\
                   a=control:trackID=2\r\n";

const VIDEO_SDP: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n";

const OK: &str = "RTSP/1.0 200 OK\r\n";

/// A session and its connection.
struct Rig {
    session: Session,
    framer: Framer,
    now: Instant,
}

impl Rig {
    fn new(url: &str) -> Self {
        let (address, credentials) = CameraAddress::parse(url).unwrap();
        let mut rig = Self {
            session: Session::new(SessionConfig {
                address,
                credentials,
            }),
            framer: Framer::new(),
            now: Instant::from_millis(1_000),
        };
        rig.session.connected(rig.now);
        rig
    }

    /// The only request waiting to be sent.
    fn request(&mut self) -> String {
        let request = self.session.poll_transmit().expect("a request");
        assert_eq!(self.session.poll_transmit(), None);
        let request = String::from_utf8(request).unwrap();
        assert_eq!(field(&request, "User-Agent"), Some(USER_AGENT));
        request
    }

    /// Feeds bytes, `piece` at a time.
    fn receive(&mut self, bytes: &[u8], piece: usize) -> Result<(), SessionError> {
        for piece in bytes.chunks(piece) {
            assert_eq!(self.framer.feed(piece), piece.len());
            while let Some(frame) = self.framer.next().unwrap() {
                match frame {
                    Frame::Response(response) => {
                        self.session.handle_response(self.now, &response)?;
                    }
                    Frame::Request(request) => self.session.handle_request(&request)?,
                    Frame::Interleaved { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Takes a request that begins with `expected` and answers it; the answer gets CSeq, and its
    /// length if there is a body.
    fn step(&mut self, expected: &str, answer: &str, body: &str) -> Result<String, SessionError> {
        let request = self.request();
        assert!(request.starts_with(expected), "{expected}: {request}");
        let answer = answered(&request, answer, body);
        self.receive(answer.as_bytes(), usize::MAX)
            .map(|()| request)
    }

    /// Up to PLAY without an answer, with both tracks.
    fn until_play(&mut self) {
        self.step("OPTIONS", OK, "").unwrap();
        self.step("DESCRIBE", OK, SDP).unwrap();
        for _ in 0..2 {
            let session = format!("{OK}Session: 1; timeout=20\r\n");
            self.step("SETUP", &session, "").unwrap();
        }
    }

    fn until_playing(&mut self, public: &str) {
        let options = format!("{OK}Public: {public}\r\n");
        self.step("OPTIONS", &options, "").unwrap();
        self.step("DESCRIBE", OK, VIDEO_SDP).unwrap();
        let session = format!("{OK}Session: 1; timeout=20\r\n");
        self.step("SETUP", &session, "").unwrap();
        self.step("PLAY", OK, "").unwrap();
        self.events();
    }

    fn events(&mut self) -> Vec<SessionEvent> {
        core::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn playing(&mut self) -> Vec<PlayingTrack> {
        match self.events().pop() {
            Some(SessionEvent::Playing { tracks }) => tracks,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass until the next deadline.
    fn wait(&mut self) -> Result<Duration, SessionError> {
        let due = self.session.poll_timeout().expect("a deadline");
        let waited = due.since(self.now);
        self.now = due;
        self.session.handle_timeout(due).map(|()| waited)
    }
}

fn answered(request: &str, answer: &str, body: &str) -> String {
    let cseq = field(request, "CSeq").unwrap();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("{answer}CSeq: {cseq}\r\n{length}\r\n{body}")
}

/// Value of a header of a request.
fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Method and URL of a request.
fn target(request: &str) -> (&str, &str) {
    let mut words = request.split(' ');
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn a_session_plays_both_tracks() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a?b=c");
    let request = rig
        .step("OPTIONS rtsp://192.0.2.1/a?b=c RTSP/1.0\r\n", OK, "")
        .unwrap();
    assert_eq!(field(&request, "CSeq"), Some("1"));
    let base = format!("{OK}Content-Base: rtsp://192.0.2.1/a/\r\n");
    let request = rig
        .step("DESCRIBE rtsp://192.0.2.1/a?b=c RTSP/1.0\r\n", &base, SDP)
        .unwrap();
    assert_eq!(field(&request, "Accept"), Some("application/sdp"));
    assert_eq!(field(&request, "Session"), None);
    // The camera takes other channels than asked for.
    let answer = format!(
        "{OK}Session: 9a90de54 ; timeout=120\r\n\
         Transport: RTP/AVP/TCP;unicast;interleaved=4-5; ssrc= 0A0B0C0D\r\n"
    );
    let request = rig
        .step(
            "SETUP rtsp://192.0.2.1/a/trackID=1 RTSP/1.0\r\n",
            &answer,
            "",
        )
        .unwrap();
    let transport = "RTP/AVP/TCP;unicast;interleaved=0-1";
    assert_eq!(field(&request, "Transport"), Some(transport));
    let request = rig
        .step("SETUP rtsp://192.0.2.1/a/trackID=2 RTSP/1.0\r\n", OK, "")
        .unwrap();
    let transport = "RTP/AVP/TCP;unicast;interleaved=2-3";
    assert_eq!(field(&request, "Transport"), Some(transport));
    assert_eq!(field(&request, "Session"), Some("9a90de54"));
    let answer = format!(
        "{OK}RTP-Info: url=rtsp://192.0.2.1/a/trackID=2;seq=7;rtptime=8,\
         url=rtsp://192.0.2.1/a/trackID=1;seq=5;rtptime=6\r\n"
    );
    let request = rig
        .step("PLAY rtsp://192.0.2.1/a/ RTSP/1.0\r\n", &answer, "")
        .unwrap();
    assert_eq!(field(&request, "Session"), Some("9a90de54"));
    assert_eq!(field(&request, "Range"), Some("npt=0.000-"));
    assert_eq!(field(&request, "CSeq"), Some("5"));

    let [described, playing] = <[_; 2]>::try_from(rig.events()).unwrap();
    assert_eq!(
        described,
        SessionEvent::Described {
            sdp: SDP.to_owned()
        }
    );
    let SessionEvent::Playing { tracks } = playing else {
        panic!("{playing:?}");
    };
    let [video, audio] = <[_; 2]>::try_from(tracks).unwrap();
    assert_eq!(
        (video.kind, video.rtp_channel, video.rtcp_channel),
        (TrackKind::Video, 4, 5)
    );
    assert_eq!((video.payload_type, video.clock_rate), (96, 90_000));
    assert_eq!(video.ssrc, Some(0x0a0b_0c0d));
    assert_eq!(
        (video.rtp_info.seq, video.rtp_info.rtptime),
        (Some(5), Some(6))
    );
    assert_eq!(
        (audio.kind, audio.rtp_channel, audio.rtcp_channel),
        (TrackKind::Audio, 2, 3)
    );
    assert_eq!((audio.payload_type, audio.clock_rate), (97, 16_000));
    assert_eq!(
        (audio.rtp_info.seq, audio.rtp_info.rtptime),
        (Some(7), Some(8))
    );
}

#[test]
fn answers_may_come_in_pieces_with_packets_between_them() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_play();
    // "H264DVR 1.0": packets before the answer to PLAY.
    let request = rig.request();
    let mut bytes = b"$\0\0\x0c\x80\x60ten bytes.$\x01\0\x01x".to_vec();
    bytes.extend(answered(&request, OK, "").as_bytes());
    rig.receive(&bytes, 1).unwrap();
    assert_eq!(rig.playing().len(), 2);
    assert_eq!(rig.framer.skipped(), 0);
}

/// Answers 401 with `challenges` until the request is authenticated as the last challenge wants.
struct Guard {
    challenge: String,
    seen: u32,
}

impl Guard {
    fn new(challenge: &str) -> Self {
        Self {
            challenge: challenge.to_owned(),
            seen: 0,
        }
    }

    /// Whether the request's Digest answer is right; it has to count its nonce.
    fn admits(&mut self, request: &str, user: &str, password: &str) -> bool {
        let Some(authorization) = field(request, "Authorization") else {
            return false;
        };
        let (method, uri) = target(request);
        let challenge = ChallengeParser::new(&self.challenge)
            .next()
            .unwrap()
            .unwrap();
        if challenge.scheme == "Basic" {
            return authorization == http_auth::basic::encode_credentials(user, password);
        }
        let mut client = DigestClient::try_from(&challenge).unwrap();
        let params = PasswordParams {
            username: user,
            password,
            uri,
            method,
            body: None,
        };
        let cnonce = authorization
            .split_once("cnonce=\"")
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or_default();
        self.seen += 1;
        for _ in 1..self.seen {
            client.respond_with_testing_cnonce(&params, cnonce).unwrap();
        }
        let expected = client.respond_with_testing_cnonce(&params, cnonce).unwrap();
        authorization == expected.replace("username*=UTF-8''j%C3%BCrgen", "username=\"jürgen\"")
    }
}

#[test]
fn every_request_is_authenticated_as_the_camera_wants() {
    for challenge in [
        "Basic realm=\"cam\"",
        "Digest realm=\"GStreamer RTSP Server\", nonce=\"7f1e\"",
        "Digest realm=\"IP Camera(12345)\", nonce=\"abc\", algorithm=MD5, stale=\"FALSE\"",
        "Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\", opaque=\"xyz\"",
        "Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256",
        "Digest realm=\"cam\", nonce=\"abc\", algorithm=SHA-256",
    ] {
        let mut rig = Rig::new("rtsp://j%C3%BCrgen:p@ss:wo%25rd@192.0.2.1/a?x=1");
        let mut guard = Guard::new(challenge);
        let mut refused = 0;
        for expected in ["OPTIONS", "OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"] {
            let request = rig.request();
            assert!(request.starts_with(expected), "{challenge}: {request}");
            assert!(!request.contains("p@ss"), "{request}");
            let answer = if guard.admits(&request, "jürgen", "p@ss:wo%rd") {
                format!("{OK}Session: 5\r\n")
            } else {
                refused += 1;
                format!("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n")
            };
            let body = if expected == "DESCRIBE" { SDP } else { "" };
            let answer = answered(&request, &answer, body);
            rig.receive(answer.as_bytes(), usize::MAX).unwrap();
        }
        assert_eq!(refused, 1, "{challenge}");
        assert_eq!(rig.playing().len(), 2, "{challenge}");
    }
}

#[test]
fn a_new_nonce_is_taken_in_any_request() {
    let mut rig = Rig::new("rtsp://u:p@192.0.2.1/a");
    let challenge = |nonce: &str, stale: &str| {
        format!("Digest realm=\"cam\", nonce=\"{nonce}\", qop=\"auth\"{stale}")
    };
    let mut guard = Guard::new(&challenge("0", ""));
    let mut requests = Vec::new();
    // Each nonce is good for one granted request.
    for nonce in 1..20 {
        let request = rig.request();
        requests.push(target(&request).0.to_owned());
        let answer = if guard.admits(&request, "u", "p") {
            format!("{OK}Session: 5;timeout=5\r\nPublic: GET_PARAMETER\r\n")
        } else {
            let stale = if nonce % 3 == 0 { ", stale=true" } else { "" };
            guard = Guard::new(&challenge(&nonce.to_string(), stale));
            let challenge = &guard.challenge;
            format!("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n")
        };
        if answer.starts_with(OK) {
            guard = Guard::new(&challenge("spent", ""));
        }
        let body = if request.starts_with("DESCRIBE") {
            VIDEO_SDP
        } else {
            ""
        };
        let answer = answered(&request, &answer, body);
        rig.receive(answer.as_bytes(), usize::MAX).unwrap();
        if rig.session.outgoing.pending().is_none() {
            rig.wait().unwrap();
        }
    }
    requests.dedup();
    assert_eq!(
        requests,
        ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER"]
    );
}

#[test]
fn wrong_credentials_end_the_session_and_never_loop() {
    let digest = "Digest realm=\"a\", nonce=\"NONCE\", qop=\"auth\"";
    for (url, challenge, requests, error) in [
        (
            "rtsp://192.0.2.1/a",
            digest,
            1,
            AuthError::CredentialsMissing,
        ),
        (
            "rtsp://u:p@192.0.2.1/a",
            "Basic realm=\"a\"",
            2,
            AuthError::Refused,
        ),
        ("rtsp://u:p@192.0.2.1/a", digest, 2, AuthError::Refused),
        (
            "rtsp://u:p@192.0.2.1/a",
            "Digest realm=\"a\", nonce=\"NONCE\", stale=true",
            3,
            AuthError::Refused,
        ),
        (
            "rtsp://u:p@192.0.2.1/a",
            "Negotiate",
            1,
            AuthError::SchemeUnknown,
        ),
    ] {
        let mut rig = Rig::new(url);
        let mut sent = 0;
        let result = loop {
            sent += 1;
            let challenge = challenge.replace("NONCE", &sent.to_string());
            let answer = format!("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n");
            if let Err(error) = rig.step("OPTIONS", &answer, "") {
                break error;
            }
        };
        assert_eq!(
            (result, sent),
            (SessionError::Auth(error), requests),
            "{challenge}"
        );
        assert_eq!(rig.session.poll_timeout(), None);
        assert!(!format!("{:?}", rig.session).contains("192.0.2.1/a"));
    }
}

#[test]
fn refused_requests_end_the_session_by_name() {
    // How many requests are granted, status of the next, method in the error.
    for (granted, status, method) in [
        (1, 404, "DESCRIBE"),
        (1, 503, "DESCRIBE"),
        (2, 461, "SETUP"),
        (4, 454, "PLAY"),
        (4, 303, "PLAY"),
    ] {
        let mut rig = Rig::new("rtsp://192.0.2.1/a");
        for _ in 0..granted {
            let request = rig.request();
            let body = if request.starts_with("DESCRIBE") {
                SDP
            } else {
                ""
            };
            let answer = answered(&request, &format!("{OK}Session: 5\r\n"), body);
            rig.receive(answer.as_bytes(), usize::MAX).unwrap();
        }
        let error = rig
            .step(method, &format!("RTSP/1.0 {status} x\r\n"), "")
            .unwrap_err();
        assert_eq!(error, SessionError::Status { method, status });
        assert_eq!(error.status(), Some(status));
        assert!(error.to_string().starts_with("the camera"), "{error}");
        assert_eq!(rig.session.poll_timeout(), None);
    }
}

#[test]
fn quirks_while_setting_up_are_survived() {
    // Hikvision: 551 to OPTIONS.
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", "RTSP/1.0 551 Option not supported\r\n", "")
        .unwrap();
    rig.step("DESCRIBE", OK, SDP).unwrap();
    // "H264DVR 1.0": the session's id changes.
    let first = rig
        .step("SETUP", &format!("{OK}Session: first\r\n"), "")
        .unwrap();
    assert_eq!(field(&first, "Session"), None);
    let second = rig
        .step("SETUP", &format!("{OK}Session: other\r\n"), "")
        .unwrap();
    assert_eq!(field(&second, "Session"), Some("first"));
    // An answer to another request, and one that is not final yet.
    rig.receive(b"RTSP/1.0 404 Old\r\nCSeq: 1\r\n\r\n", 7)
        .unwrap();
    let request = rig.request();
    assert_eq!(field(&request, "Session"), Some("first"));
    rig.receive(
        answered(&request, "RTSP/1.0 100 Continue\r\n", "").as_bytes(),
        9,
    )
    .unwrap();
    // No CSeq.
    rig.receive(b"RTSP/1.0 200 OK\r\n\r\n", 5).unwrap();
    assert_eq!(rig.playing().len(), 2);
}

#[test]
fn transports_that_cannot_be_used_are_errors() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    rig.step("DESCRIBE", OK, SDP).unwrap();
    let udp = format!("{OK}Transport: RTP/AVP;unicast;client_port=0-1;server_port=2-3\r\n");
    assert_eq!(
        rig.step("SETUP", &udp, "").unwrap_err(),
        SessionError::TransportRefused
    );

    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    rig.step("DESCRIBE", OK, SDP).unwrap();
    let same = format!("{OK}Transport: RTP/AVP/TCP;interleaved=1-2\r\n");
    rig.step("SETUP", &same, "").unwrap();
    assert_eq!(
        rig.step("SETUP", OK, "").unwrap_err(),
        SessionError::ChannelsCollide
    );
}

#[test]
fn sound_that_is_refused_does_not_cost_the_pictures() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    rig.step("DESCRIBE", OK, SDP).unwrap();
    rig.step("SETUP", OK, "").unwrap();
    rig.step("SETUP", "RTSP/1.0 500 No\r\n", "").unwrap();
    rig.step("PLAY", OK, "").unwrap();
    let events = rig.events();
    assert!(events.contains(&SessionEvent::TrackIgnored {
        kind: TrackKind::Audio,
        codec: "MPEG4-GENERIC".to_owned(),
        reason: IgnoreReason::Refused(500),
    }));
    match events.last() {
        Some(SessionEvent::Playing { tracks }) => assert_eq!(tracks.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_recorded_is_told_by_name() {
    let hevc = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n";
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    let error = rig.step("DESCRIBE", OK, hevc).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the camera sends H265 video: choose H.264 in the camera's settings"
    );
    assert!(matches!(rig.events()[..], [SessionEvent::Described { .. }]));

    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    let sdp = format!("{VIDEO_SDP}m=audio 0 RTP/AVP 8\r\n");
    rig.step("DESCRIBE", OK, &sdp).unwrap();
    assert_eq!(
        rig.events().pop(),
        Some(SessionEvent::TrackIgnored {
            kind: TrackKind::Audio,
            codec: "PCMA".to_owned(),
            reason: IgnoreReason::Codec,
        })
    );

    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.step("OPTIONS", OK, "").unwrap();
    let error = rig.step("DESCRIBE", OK, "").unwrap_err();
    assert!(matches!(error, SessionError::Sdp(_)));
}

#[test]
fn a_camera_that_does_not_answer_is_given_up_after_10_s() {
    for granted in 0..5 {
        let mut rig = Rig::new("rtsp://192.0.2.1/a");
        let mut method = "OPTIONS";
        for _ in 0..granted {
            let request = rig.request();
            let body = if request.starts_with("DESCRIBE") {
                SDP
            } else {
                ""
            };
            rig.receive(answered(&request, OK, body).as_bytes(), 99)
                .unwrap();
            let pending = rig.session.outgoing.pending().unwrap();
            method = pending.step.method();
        }
        let due = rig.session.poll_timeout().unwrap();
        assert_eq!(due.since(rig.now), REQUEST_TIMEOUT);
        rig.session
            .handle_timeout(Instant::from_micros(due.as_micros() - 1))
            .unwrap();
        let error = rig.session.handle_timeout(due).unwrap_err();
        assert!(
            matches!(error, SessionError::Timeout { method: m } if m == method),
            "{error}"
        );
        assert_eq!(rig.session.poll_timeout(), None);
    }
}

#[test]
fn a_session_is_kept_alive() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_playing("OPTIONS, GET_PARAMETER");
    for _ in 0..3 {
        assert_eq!(rig.wait(), Ok(Duration::from_secs(10)));
        let request = rig
            .step("GET_PARAMETER rtsp://192.0.2.1/a RTSP/1.0", OK, "")
            .unwrap();
        assert_eq!(field(&request, "Session"), Some("1"));
    }
    // Refused: another method from now on. Refused again: still no end.
    for (expected, status) in [("GET_PARAMETER", 501), ("OPTIONS", 454), ("OPTIONS", 200)] {
        assert_eq!(rig.wait(), Ok(Duration::from_secs(10)));
        rig.step(expected, &format!("RTSP/1.0 {status} x\r\n"), "")
            .unwrap();
    }
    assert_eq!(rig.events(), []);
}

#[test]
fn a_keep_alive_without_an_answer_is_no_end() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_playing("GET_PARAMETER");
    for expected in ["GET_PARAMETER", "OPTIONS", "OPTIONS", "OPTIONS"] {
        assert_eq!(rig.wait(), Ok(Duration::from_secs(10)));
        assert!(rig.request().starts_with(expected));
    }
}

#[test]
fn a_keep_alive_with_401_is_authenticated_again_or_let_be() {
    let mut rig = Rig::new("rtsp://u:p@192.0.2.1/a");
    rig.until_playing("");
    rig.wait().unwrap();
    let answer =
        "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n";
    assert_eq!(
        field(&rig.step("OPTIONS", answer, "").unwrap(), "Authorization"),
        None
    );
    let request = rig.step("OPTIONS", answer, "").unwrap();
    assert!(field(&request, "Authorization").is_some());
    // Refused with a fresh nonce: not again before the next one is due.
    assert_eq!(rig.session.poll_transmit(), None);
    assert_eq!(rig.wait(), Ok(Duration::from_secs(10)));
    rig.step("OPTIONS", OK, "").unwrap();
}

#[test]
fn the_cameras_requests_are_answered() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_playing("");
    for (method, status) in [
        ("OPTIONS", "200 OK"),
        ("GET_PARAMETER", "200 OK"),
        ("SET_PARAMETER", "200 OK"),
        ("ANNOUNCE", "200 OK"),
        ("RECORD", "501 Not Implemented"),
        ("X_Y", "501 Not Implemented"),
    ] {
        let request = format!("{method} rtsp://192.0.2.1/a RTSP/1.0\r\nCSeq: 77\r\n\r\n");
        rig.receive(request.as_bytes(), 10).unwrap();
        let answer = String::from_utf8(rig.session.poll_transmit().unwrap()).unwrap();
        let expected = format!("RTSP/1.0 {status}\r\nCSeq: 77\r\n");
        assert!(answer.starts_with(&expected), "{answer}");
        assert_eq!(method == "OPTIONS", field(&answer, "Public").is_some());
    }
    let flood = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(100);
    rig.receive(flood.as_bytes(), 1000).unwrap();
    let answers = core::iter::from_fn(|| rig.session.poll_transmit());
    assert_eq!(answers.count(), ANSWERS_MAX);
    let error = rig
        .receive(b"TEARDOWN * RTSP/1.0\r\nCSeq: 1\r\n\r\n", 99)
        .unwrap_err();
    assert_eq!(error, SessionError::Ended);
    assert!(rig.session.poll_transmit().is_some());
}

#[test]
fn a_redirection_is_followed_without_the_credentials() {
    let challenge =
        "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n";
    for (location, host, keeps) in [
        ("rtsp://192.0.2.1:554/b", "192.0.2.1", true),
        ("/b", "192.0.2.1", true),
        ("rtsp://x:y@192.0.2.2/b", "192.0.2.2", false),
        ("rtsp://192.0.2.1:8554/b", "192.0.2.1", false),
    ] {
        let mut rig = Rig::new("rtsp://u:p@192.0.2.1/a");
        rig.step("OPTIONS", challenge, "").unwrap();
        rig.step("OPTIONS", OK, "").unwrap();
        let moved = format!("RTSP/1.0 302 Moved\r\nLocation: {location}\r\n");
        rig.step("DESCRIBE", &moved, "").unwrap();
        assert_eq!(rig.events(), [SessionEvent::Redirected], "{location}");
        assert_eq!(rig.session.address().host(), host, "{location}");
        assert_eq!(rig.session.poll_timeout(), None);
        rig.session.connected(rig.now);
        rig.step("OPTIONS rtsp://", OK, "").unwrap();
        let result = rig.step("DESCRIBE", challenge, "");
        if keeps {
            result.unwrap();
            assert!(
                field(&rig.request(), "Authorization").is_some(),
                "{location}"
            );
        } else {
            let error = SessionError::Auth(AuthError::CredentialsMissing);
            assert_eq!(result.unwrap_err(), error, "{location}");
        }
    }
}

#[test]
fn redirections_are_bounded_and_stay_secure() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    let mut followed = 0;
    let error = loop {
        match rig.step("OPTIONS", "RTSP/1.0 301 x\r\nLocation: /b\r\n", "") {
            Ok(_) => {
                followed += 1;
                rig.session.connected(rig.now);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error, followed),
        (SessionError::TooManyRedirects, REDIRECTS_MAX)
    );

    for (location, error) in [
        ("rtsp://192.0.2.1/a", SessionError::RedirectInsecure),
        (
            "http://192.0.2.1/a",
            SessionError::Redirect(crate::rtsp::AddressError::Scheme),
        ),
    ] {
        let mut rig = Rig::new("rtsps://192.0.2.1/a");
        let moved = format!("RTSP/1.0 305 Use Proxy\r\nLocation: {location}\r\n");
        assert_eq!(rig.step("OPTIONS", &moved, "").unwrap_err(), error);
    }

    // The camera asks by itself.
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_playing("");
    let request = b"REDIRECT * RTSP/1.0\r\nCSeq: 1\r\nLocation: rtsp://192.0.2.3/\r\n\r\n";
    rig.receive(request, 99).unwrap();
    assert_eq!(rig.events(), [SessionEvent::Redirected]);
    assert_eq!(rig.session.address().host(), "192.0.2.3");
    // The answer is not for the next camera.
    rig.session.connected(rig.now);
    assert!(
        rig.request()
            .starts_with("OPTIONS rtsp://192.0.2.3/ RTSP/1.0")
    );
}

#[test]
fn a_session_is_torn_down_once() {
    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.session.teardown(rig.now);
    assert!(rig.request().starts_with("OPTIONS"));

    let mut rig = Rig::new("rtsp://192.0.2.1/a");
    rig.until_playing("");
    rig.session.teardown(rig.now);
    rig.session.teardown(rig.now);
    let request = rig.step(
        "TEARDOWN rtsp://192.0.2.1/a RTSP/1.0",
        "RTSP/1.0 454 x\r\n",
        "",
    );
    assert_eq!(field(&request.unwrap(), "Session"), Some("1"));
    assert_eq!(rig.session.poll_timeout(), None);
    rig.session
        .handle_timeout(rig.now + REQUEST_TIMEOUT)
        .unwrap();
    assert_eq!(rig.session.poll_transmit(), None);
}
