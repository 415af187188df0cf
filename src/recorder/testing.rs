//! A camera made up for tests: answers RTSP requests, and makes RTP packets of H.264 pictures
//! and AAC frames whose headers are real and whose contents are filler. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// SPS as x264 writes it: baseline, 320x180, no picture is reordered.
pub const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
];

/// SPS as x264 writes it: high, 1920x1080, its VUI declares that two pictures are reordered.
pub const SPS_REORDERED: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];

/// A camera's SPS (Reolink): high, 640x480, no VUI that could declare anything.
pub const SPS_WITHOUT_VUI: &[u8] = &[
    0x67, 0x64, 0x00, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0x90,
];

const PPS: &[u8] = &[0x68, 0xee, 0x3c, 0x80];

/// RTP ticks a second of the pictures.
pub const VIDEO_CLOCK: u64 = 90_000;

/// RTP ticks a second of the sound: AAC at 48 kHz.
pub const AUDIO_CLOCK: u64 = 48_000;

/// Samples of one AAC frame.
pub const AUDIO_FRAME: u64 = 1024;

/// Most payload bytes of an RTP packet.
const PAYLOAD_MAX: usize = 1400;

/// What a picture may refer to, and who may refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// IDR, with parameter sets before it.
    Idr,
    /// Refers to earlier ones.
    P,
    /// Refers to both sides; nobody refers to it.
    B,
}

/// The tracks that the camera offers, and how it wants to be asked.
#[derive(Clone, Debug)]
pub struct CameraScript {
    /// SPS of the video; none: no video.
    pub sps: Option<&'static [u8]>,
    /// It has sound.
    pub audio: bool,
    /// It refuses every user name and password, asking for them so.
    pub refuses: Option<Scheme>,
    /// DESCRIBE is answered with a redirection to here.
    pub redirect: Option<&'static str>,
    /// It does not answer.
    pub mute: bool,
}

/// A scheme of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 7617.
    Basic,
    /// RFC 7616.
    Digest,
}

/// The camera's side of one connection after the other.
#[derive(Clone, Debug)]
pub struct Camera {
    /// How it behaves.
    pub script: CameraScript,
    /// Methods of the requests so far.
    pub requests: Vec<String>,
    /// Interleaved packets that came: channel and data.
    pub reports: Vec<(u8, Vec<u8>)>,
    /// Sequence numbers of the next packets of video and audio; add to them to lose packets.
    pub sequence: [u16; 2],
    video_start: u32,
    audio_start: u32,
}

impl Default for CameraScript {
    fn default() -> Self {
        Self {
            sps: Some(SPS),
            audio: true,
            refuses: None,
            redirect: None,
            mute: false,
        }
    }
}

impl Camera {
    /// A camera whose sequence numbers and RTP times wrap soon.
    pub fn new(script: CameraScript) -> Self {
        Self {
            script,
            requests: Vec::new(),
            reports: Vec::new(),
            sequence: [65_500, 65_000],
            video_start: u32::MAX - 500_000,
            audio_start: u32::MAX - 200_000,
        }
    }

    /// RTP time jumps by so many ticks of both tracks' clocks.
    pub fn jump(&mut self, video: i32, audio: i32) {
        self.video_start = self.video_start.wrapping_add_signed(video);
        self.audio_start = self.audio_start.wrapping_add_signed(audio);
    }

    /// Takes in the bytes of one request, or of receiver reports, and gives the answer; none to
    /// reports.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        if !bytes.starts_with(b"$") {
            return self.answer(&String::from_utf8_lossy(bytes));
        }
        while let Some(([b'$', channel, l0, l1], rest)) = bytes.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (packet, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            self.reports.push((*channel, packet.to_vec()));
            bytes = rest;
        }
        Vec::new()
    }

    fn answer(&mut self, request: &str) -> Vec<u8> {
        let method = request.split(' ').next().unwrap_or_default();
        self.requests.push(method.to_owned());
        if self.script.mute {
            return Vec::new();
        }
        let field = |name| {
            let line = |line: &'_ str| line.strip_prefix(name).map(str::to_owned);
            request.lines().find_map(line).unwrap_or_default()
        };
        let (status, headers, body) = match (self.script.refuses, method) {
            (Some(Scheme::Basic), _) => {
                let challenge = "WWW-Authenticate: Basic realm=\"camera\"\r\n".to_owned();
                ("401 Unauthorized", challenge, String::new())
            }
            (Some(Scheme::Digest), _) => {
                let nonce = self.requests.len();
                let challenge =
                    format!("WWW-Authenticate: Digest realm=\"camera\", nonce=\"{nonce}\"\r\n");
                ("401 Unauthorized", challenge, String::new())
            }
            (None, "OPTIONS") => ("200 OK", "Public: GET_PARAMETER\r\n".into(), String::new()),
            (None, "DESCRIBE") => match self.script.redirect {
                Some(to) => ("302 Found", format!("Location: {to}\r\n"), String::new()),
                None => ("200 OK", String::new(), self.sdp()),
            },
            (None, "SETUP") => {
                let transport = field("Transport: ");
                let headers = format!("Session: 7; timeout=60\r\nTransport: {transport}\r\n");
                ("200 OK", headers, String::new())
            }
            (None, _) => ("200 OK", String::new(), String::new()),
        };
        let (cseq, length) = (field("CSeq: "), body.len());
        format!(
            "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    fn sdp(&self) -> String {
        let mut sdp = "v=0\r\ns=x\r\na=control:*\r\n".to_owned();
        if let Some(sps) = self.script.sps {
            let sets = [sps, PPS].map(|set| BASE64_STANDARD.encode(set)).join(",");
            sdp += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n";
            sdp += &format!("a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n");
        }
        if self.script.audio {
            sdp += "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
                    a=control:audio\r\na=fmtp:97 mode=AAC-hbr;config=1190;sizeLength=13;\
                    indexLength=3;indexDeltaLength=3\r\n";
        }
        sdp
    }

    /// Appends the interleaved packets of one picture, of about `size` bytes, that is shown `at`
    /// so many ticks of its clock after the first.
    pub fn picture(&mut self, out: &mut Vec<u8>, picture: Picture, at: u64, size: usize) {
        let time = self.video_start.wrapping_add(low(at));
        if picture == Picture::Idr {
            for set in [self.script.sps.unwrap_or(SPS), PPS] {
                self.packet(out, 0, time, false, &[set]);
            }
        }
        // Slice header: first_mb_in_slice 0, then the slice's type.
        let (header, first) = match picture {
            Picture::Idr => (0x65, 0x88),
            Picture::P => (0x41, 0x9a),
            Picture::B => (0x01, 0x9e),
        };
        let payload = PAYLOAD_MAX - 2;
        let mut left = size.max(2);
        if left < payload {
            let filler = FILLER.get(..left).unwrap_or(FILLER);
            return self.packet(out, 0, time, true, &[&[header, first], filler]);
        }
        let mut start = true;
        while left > 0 {
            let now = left.min(payload);
            left -= now;
            let flags = u8::from(start) << 7 | u8::from(left == 0) << 6;
            let unit = [header & 0x60 | 28, flags | header & 0x1f];
            let filler = FILLER.get(..now - 1).unwrap_or(FILLER);
            let first = if start { first } else { 0x33 };
            self.packet(out, 0, time, left == 0, &[&unit, &[first], filler]);
            start = false;
        }
    }

    /// Appends the interleaved packet of `count` frames of sound, each of `size` bytes; the first
    /// begins `at` so many ticks of their clock after the first of all.
    pub fn sound(&mut self, out: &mut Vec<u8>, at: u64, count: u16, size: u16) {
        let time = self.audio_start.wrapping_add(low(at));
        let bits = count.wrapping_mul(16).to_be_bytes();
        let header = (size << 3).to_be_bytes();
        let start = out.len();
        self.packet(out, 1, time, true, &[&bits]);
        for _ in 0..count {
            out.extend_from_slice(&header);
        }
        for _ in 0..count {
            out.extend_from_slice(FILLER.get(..size.into()).unwrap_or(FILLER));
        }
        let length = low((out.len() - start - 4) as u64).to_be_bytes();
        if let (Some(to), [_, _, l0, l1]) = (out.get_mut(start + 2..start + 4), length) {
            to.copy_from_slice(&[l0, l1]);
        }
    }

    /// Appends one interleaved RTP packet of video (track 0) or audio (1).
    fn packet(&mut self, out: &mut Vec<u8>, track: u8, time: u32, marker: bool, parts: &[&[u8]]) {
        let length = 12 + parts.iter().map(|part| part.len()).sum::<usize>();
        let [_, _, l0, l1] = low(length as u64).to_be_bytes();
        // The channels that the recorder asks for: two a track, in the order of the SDP.
        let channel = if self.script.sps.is_some() {
            2 * track
        } else {
            0
        };
        out.extend_from_slice(&[b'$', channel, l0, l1]);
        out.extend_from_slice(&[0x80, u8::from(marker) << 7 | (96 + track)]);
        if let Some(sequence) = self.sequence.get_mut(usize::from(track)) {
            out.extend_from_slice(&sequence.to_be_bytes());
            *sequence = sequence.wrapping_add(1);
        }
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&[9, 9, 9, track]);
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }
}

/// Neither start codes nor zeros at the end.
const FILLER: &[u8] = &[0x5a; 8191];

/// RTP times and lengths are counted modulo 2^32.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}
