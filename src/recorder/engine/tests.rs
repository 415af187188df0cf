//! A made-up camera drives the whole engine; time passes only here.

use super::*;
use crate::media::{Sample, TrackKind};
use crate::mp4::moof::read_moof;
use crate::recorder::Loss;
use crate::recorder::fragment::Fragment;
use crate::recorder::testing::{
    AUDIO_FRAME, Camera, CameraScript, Picture, SPS_REORDERED, SPS_WITHOUT_VUI, Scheme,
};
use crate::rtsp::{Credentials, SessionConfig};

const BLOCKS: usize = 48;
const SECOND: u64 = 90_000;
/// 25 pictures a second.
const PICTURE: u64 = 3600;
/// A sync sample each second.
const GOP: u64 = 25;
const PASSWORD: &str = "hunter2-and-more";

/// Display order of a GOP in decoding order: I, then P with two B before it.
const REORDERED: [u64; 25] = [
    0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14, 18, 16, 17, 21, 19, 20, 24, 22, 23,
];

/// A recorder, its camera, and all that came out.
struct Bench {
    recorder: Recorder,
    pool: Rc<RefCell<Pool>>,
    camera: Camera,
    /// The camera takes connections.
    there: bool,
    now: Instant,
    /// The picture that is next, counted from the first, and when that was sent.
    next: u64,
    began: Instant,
    sounds: u64,
    /// Bytes handed over at once.
    piece: usize,
    order: Option<&'static [u64]>,
    /// The next bytes come spoiled, by this noise.
    spoil: bool,
    noise: u64,
    /// Keeps what the flash thread would write.
    #[expect(clippy::vec_box, reason = "the pool hands out boxes")]
    stalled: Option<Vec<Box<Fragment>>>,
    segments: Vec<Seen>,
    open: bool,
    log: Vec<Output>,
    deadline: Instant,
}

/// A segment as the flash thread sees it.
#[derive(Debug, Default)]
struct Seen {
    start: u64,
    end: Option<u64>,
    holes: Vec<(u64, u64, Cause)>,
    continues: bool,
    fragments: u32,
    video: Vec<(u64, Sample)>,
    audio: Vec<(u64, Sample)>,
    lost: (u32, u64),
    bytes: Vec<u8>,
}

fn config() -> RecorderConfig {
    let (address, _) = CameraAddress::parse("rtsp://192.0.2.1/a").unwrap();
    RecorderConfig {
        session: SessionConfig {
            address,
            credentials: Some(Credentials::new("admin", PASSWORD)),
        },
        cutting: Cutting {
            segment_length: Duration::from_secs(4),
            fragment_length: Duration::from_secs(1),
            ring_bytes: 1 << 30,
        },
        active: true,
    }
}

impl Bench {
    fn new(script: CameraScript) -> Self {
        Self::with(script, config())
    }

    fn with(script: CameraScript, config: RecorderConfig) -> Self {
        let pool = Rc::new(RefCell::new(Pool::new(BLOCKS)));
        let now = Instant::from_millis(5_000);
        let recorder = Recorder::new(config, Rc::clone(&pool), now, Cause::Restarted, 7);
        let mut bench = Self {
            recorder,
            pool,
            camera: Camera::new(script),
            there: true,
            now,
            next: 0,
            began: now,
            sounds: 0,
            piece: 1000,
            order: None,
            spoil: false,
            noise: 0,
            stalled: None,
            segments: Vec::new(),
            open: false,
            log: Vec::new(),
            deadline: now,
        };
        bench.input(Input::Timeout);
        bench
    }

    fn playing(script: CameraScript) -> Self {
        let bench = Self::new(script);
        assert!(
            bench.events().ends_with(&["Playing"]),
            "{:?}",
            bench.events()
        );
        bench
    }

    /// One input, and all outputs, as the event loop does it.
    fn input(&mut self, input: Input<'_>) {
        self.recorder.handle_input(self.now, input);
        self.drain();
    }

    /// Carries out all that the engine wants. It is told what came of a connection or a request
    /// only when it has nothing more to say.
    fn drain(&mut self) {
        loop {
            match self.recorder.poll_output() {
                Output::Timeout(at) => {
                    self.deadline = at;
                    return;
                }
                Output::Connect(host, port) => {
                    self.log.push(Output::Connect(host, port));
                    self.drain();
                    if self.there {
                        self.input(Input::Connected);
                    } else {
                        let refused = std::io::ErrorKind::ConnectionRefused;
                        self.input(Input::Disconnected(Reason::Io(refused)));
                    }
                }
                Output::Send(bytes) => {
                    self.log.push(Output::Send(bytes.clone()));
                    let answer = self.camera.receive(&bytes);
                    self.drain();
                    self.feed(&answer);
                }
                Output::Segment(segmenter::Output::Fragment(fragment)) => self.see(fragment),
                Output::Segment(segmenter::Output::End(end)) => {
                    assert!(core::mem::take(&mut self.open), "an end without a begin");
                    self.segments.last_mut().unwrap().end = Some(end.end.0);
                }
                other => self.log.push(other),
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            self.input(Input::Received(piece));
        }
    }

    fn see(&mut self, fragment: Box<Fragment>) {
        if let Some(start) = &fragment.start {
            assert!(
                !core::mem::replace(&mut self.open, true),
                "two segments at once"
            );
            let segment = &start.segment;
            let holes = segment.holes.iter();
            self.segments.push(Seen {
                start: segment.start.0,
                holes: holes.map(|h| (h.start.0, h.end.0, h.cause)).collect(),
                continues: segment.continues,
                ..Seen::default()
            });
        }
        assert!(self.open, "a fragment of no segment");
        let seen = self.segments.last_mut().unwrap();
        let bytes: Vec<u8> = fragment.pieces().flatten().copied().collect();
        for run in &read_moof(&bytes).unwrap().runs {
            let mut at = run.base_decode_time.0;
            for sample in run.samples() {
                match run.track {
                    TrackKind::Video => seen.video.push((at, sample)),
                    TrackKind::Audio => seen.audio.push((at, sample)),
                }
                at += u64::from(sample.duration);
            }
        }
        seen.bytes.extend(bytes);
        seen.fragments += 1;
        seen.lost.0 += fragment.info.lost_pictures;
        seen.lost.1 += fragment.info.lost.0;
        match &mut self.stalled {
            Some(kept) => kept.push(fragment),
            None => self.pool.borrow_mut().give_fragment(fragment),
        }
    }

    /// Time passes; the engine is woken when it wants to be.
    fn pass_until(&mut self, then: Instant) {
        let mut rounds = 0;
        while self.deadline <= then {
            assert!(rounds < 10_000, "woken for nothing again and again");
            rounds += 1;
            self.now = self.now.max(self.deadline);
            self.input(Input::Timeout);
        }
        self.now = self.now.max(then);
    }

    fn pass(&mut self, length: Duration) {
        self.pass_until(self.now + length);
    }

    fn pass_until_playing(&mut self) {
        for _ in 0..30 {
            self.pass(Duration::from_secs(1));
            if self.events().ends_with(&["Playing"]) {
                return;
            }
        }
        panic!("not within 30 s: {:?}", self.events());
    }

    /// The camera sends pictures and their sound as time passes. `false`: not the sound.
    fn send(&mut self, pictures: u64, sound: bool) {
        for _ in 0..pictures {
            self.send_one(sound, 3000);
        }
    }

    fn send_one(&mut self, sound: bool, size: usize) {
        let due = self.began + Duration::from_millis(self.next * 40);
        self.pass_until(due.max(self.now));
        let mut bytes = Vec::new();
        if self.camera.script.sps.is_some() {
            let (kind, at) = self.kind();
            self.camera.picture(&mut bytes, kind, at * PICTURE, size);
        }
        // A frame is sent when it has been heard.
        let audible = self.next * PICTURE * 8 / 15;
        self.next += 1;
        while (self.sounds + 1) * AUDIO_FRAME <= audible {
            if sound && self.camera.script.audio {
                self.camera
                    .sound(&mut bytes, self.sounds * AUDIO_FRAME, 1, 200);
            }
            self.sounds += 1;
        }
        if self.spoil {
            self.spoil(&mut bytes);
        }
        self.feed(&bytes);
    }

    /// Bytes are flipped, go missing, come again, or are too many.
    fn spoil(&self, bytes: &mut Vec<u8>) {
        let mut random = Random::new(self.noise);
        let mut below = |n: usize| usize::try_from(random.bits() % n as u64).unwrap();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            let end = (at + 1 + below(300)).min(bytes.len());
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                _ => bytes[at..end]
                    .iter_mut()
                    .for_each(|b| *b = b.wrapping_mul(7)),
            }
        }
    }

    /// The next picture in decoding order, and its place in output order.
    fn kind(&self) -> (Picture, u64) {
        let (gop, i) = (self.next / GOP * GOP, self.next % GOP);
        let shown = self
            .order
            .map_or(i, |order| order[usize::try_from(i).unwrap()]);
        let kind = match i {
            0 => Picture::Idr,
            _ if shown < i => Picture::B,
            _ => Picture::P,
        };
        (kind, gop + shown)
    }

    /// The camera was away: its pictures go on now, with a sync sample.
    fn resume(&mut self) {
        self.next = self.next.next_multiple_of(GOP);
        let since = self.next * 40_000;
        self.began = Instant::from_micros(self.now.as_micros() - since);
        self.sounds = self.next * PICTURE * 8 / 15 / AUDIO_FRAME;
    }

    fn events(&self) -> Vec<&'static str> {
        self.log.iter().filter_map(name_of).collect()
    }

    fn aways(&self) -> Vec<Cause> {
        let cause = |output: &Output| match output {
            Output::Away(_, cause) => Some(*cause),
            _ => None,
        };
        self.log.iter().filter_map(cause).collect()
    }

    fn waits(&self) -> Vec<Duration> {
        let wait = |output: &Output| match output {
            Output::Event(Event::Lost { wait, .. }) => Some(*wait),
            _ => None,
        };
        self.log.iter().filter_map(wait).collect()
    }

    /// Why the last session broke, as the log says it.
    fn reason(&self) -> String {
        let reason = |output: &Output| match output {
            Output::Event(Event::Lost { reason, .. }) => Some(reason.to_string()),
            _ => None,
        };
        self.log.iter().rev().find_map(reason).unwrap()
    }

    fn lost(&self) -> Vec<Loss> {
        let loss = |output: &Output| match output {
            Output::Event(Event::MediaLost(loss)) => Some(*loss),
            _ => None,
        };
        self.log.iter().filter_map(loss).collect()
    }

    /// Stops, and checks what must always hold.
    fn finish(mut self) -> Vec<Seen> {
        self.input(Input::Stop(None));
        assert!(!self.open, "the last segment is sealed");
        let stalled = self.stalled.take().unwrap_or_default();
        let mut pool = self.pool.borrow_mut();
        stalled.into_iter().for_each(|f| pool.give_fragment(f));
        assert_eq!(pool.free(), BLOCKS, "every block is back");
        for track in [TrackKind::Video, TrackKind::Audio] {
            let samples = self.segments.iter().flat_map(|s| match track {
                TrackKind::Video => &s.video,
                TrackKind::Audio => &s.audio,
            });
            let times: Vec<u64> = samples.clone().map(|(dts, _)| *dts).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "{track:?}: {times:?}");
            let early = samples.clone().filter(|(_, s)| s.composition_offset < 0);
            assert_eq!(early.count(), 0, "shown before it is decoded");
        }
        for pair in self.segments.windows(2) {
            let told: u64 = pair[1].holes.iter().map(|hole| hole.1 - hole.0).sum();
            assert_eq!(
                pair[0].end.unwrap() + told,
                pair[1].start,
                "no time goes untold"
            );
        }
        self.segments
    }
}

fn name_of(output: &Output) -> Option<&'static str> {
    Some(match output {
        Output::Event(event) => match event {
            Event::Connected => "Connected",
            Event::Described { .. } => "Described",
            Event::TrackIgnored { .. } => "TrackIgnored",
            Event::Playing { .. } => "Playing",
            Event::Recording { .. } => "Recording",
            Event::MediaLost(_) => "MediaLost",
            Event::Lost { .. } => "Lost",
            Event::Inactive => "Inactive",
        },
        _ => return None,
    })
}

fn video_only() -> CameraScript {
    CameraScript {
        audio: false,
        ..CameraScript::default()
    }
}

fn shown(segment: &Seen) -> Vec<u64> {
    let times = segment.video.iter();
    let mut shown: Vec<u64> = times
        .map(|(dts, s)| dts + s.composition_offset as u64)
        .collect();
    shown.sort_unstable();
    shown
}

#[test]
fn a_camera_is_recorded_segment_by_segment() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(10 * GOP, true);
    assert_eq!(
        bench.events(),
        ["Connected", "Described", "Playing", "Recording"]
    );
    assert_eq!(
        bench.camera.requests,
        ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    );
    let first = bench.began.ticks().0;
    let segments = bench.finish();
    let times: Vec<_> = segments.iter().map(|s| (s.start, s.end.unwrap())).collect();
    let at = |seconds| first + seconds * SECOND;
    assert_eq!(times, [(at(0), at(4)), (at(4), at(8)), (at(8), at(10))]);
    assert_eq!(segments[0].holes, [(0, first, Cause::Restarted)]);
    assert_eq!(segments[0].fragments, 4);
    assert!(segments.iter().all(|s| !s.continues && s.lost == (0, 0)));
    assert!(segments.iter().all(|s| s.video[0].1.sync));
    assert_eq!(
        segments.iter().map(|s| s.video.len()).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    let audio: Vec<_> = segments.iter().flat_map(|s| &s.audio).collect();
    assert!(
        audio.windows(2).all(|pair| pair[1].0 - pair[0].0 == 1920),
        "even steps"
    );
    for segment in &segments {
        let times = segment.audio.iter().map(|(at, _)| *at);
        let end = segment.end.unwrap();
        assert!(times.clone().all(|at| segment.start <= at && at < end));
    }
}

#[test]
fn the_same_fragments_come_of_bytes_cut_anywhere() {
    let record = |piece| {
        let mut bench = Bench::playing(CameraScript::default());
        bench.piece = piece;
        bench.send(2 * GOP, true);
        bench
            .finish()
            .into_iter()
            .map(|s| s.bytes)
            .collect::<Vec<_>>()
    };
    let whole = record(60_000);
    for piece in [1, 2, 3, 5, 7, 997, 1404, 1405] {
        assert!(record(piece) == whole, "pieces of {piece}");
    }
}

#[test]
fn a_playing_session_is_kept_alive_and_reported_on() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(65 * GOP, true);
    let kept = bench.camera.requests.iter();
    assert_eq!(kept.filter(|method| *method == "GET_PARAMETER").count(), 2);
    // Each 10 s, one for each track on its RTCP channel: receiver report, then CNAME.
    assert_eq!(bench.camera.reports.len(), 12);
    for (i, (channel, report)) in bench.camera.reports.iter().enumerate() {
        assert_eq!(usize::from(*channel), 1 + i % 2 * 2);
        assert_eq!((report[0], report[1], report.len()), (0x81, 201, 48));
        assert_eq!(report[8..12], [9, 9, 9, u8::try_from(i % 2).unwrap()]);
        assert_eq!(report[12], 0, "nothing was lost");
    }
    assert!(bench.finish().len() > 10);
}

#[test]
fn a_session_in_which_nothing_comes_sends_no_report() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.pass(Duration::from_millis(10_500));
    assert!(bench.camera.reports.is_empty());
    assert_eq!(bench.reason(), "the camera sent nothing for 10 s");
}

#[test]
fn a_silent_camera_is_tried_for_ever_with_growing_waits() {
    let mut bench = Bench::playing(video_only());
    bench.send(GOP, false);
    bench.there = false;
    bench.pass(Duration::from_millis(9_900));
    assert!(bench.waits().is_empty());
    bench.pass(Duration::from_secs(6 * 3600));
    let waits = bench.waits();
    assert!(waits.len() > 1000, "{}", waits.len());
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(30));
    assert!(waits.iter().all(|wait| (shortest..=longest).contains(wait)));
    assert!(waits[0] <= Duration::from_secs(2));
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(28)));
    // Connected is not enough: only a picture that is recorded makes the waits short again.
    bench.there = true;
    bench.pass_until_playing();
    bench.input(Input::Disconnected(Reason::Closed));
    let after_playing = bench.waits();
    bench.pass_until_playing();
    bench.resume();
    bench.send(GOP, false);
    bench.input(Input::Disconnected(Reason::Closed));
    assert!(*bench.waits().last().unwrap() <= Duration::from_secs(2));
    assert_eq!(after_playing.len() + 1, bench.waits().len());
    // Of all these failures, flash was told once, and again after each recording.
    assert_eq!(
        bench.aways(),
        [Cause::CameraDisconnected, Cause::CameraDisconnected]
    );
    assert_eq!(bench.recorder.stats().reconnects, 3);
    bench.finish();
}

#[test]
fn a_closed_connection_is_a_hole_from_the_last_picture_to_the_next() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(2 * GOP, true);
    bench.input(Input::Disconnected(Reason::Closed));
    assert!(!bench.open);
    let end = bench.began.ticks().0 + 2 * SECOND;
    assert_eq!(bench.segments[0].end, Some(end));
    assert_eq!(bench.aways(), [Cause::CameraDisconnected]);
    assert_eq!(bench.reason(), "the camera closed the connection");
    bench.pass_until_playing();
    bench.pass(Duration::from_secs(4));
    bench.resume();
    let again = bench.now.ticks().0;
    bench.send(GOP, true);
    let segments = bench.finish();
    assert_eq!(segments[1].holes, [(end, again, Cause::CameraDisconnected)]);
}

#[test]
fn video_that_stalls_while_sound_goes_on_is_reconnected() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(GOP, true);
    for _ in 0..20 {
        let mut bytes = Vec::new();
        bench
            .camera
            .sound(&mut bytes, bench.sounds * AUDIO_FRAME, 1, 200);
        bench.sounds += 24;
        bench.pass(Duration::from_millis(512));
        bench.feed(&bytes);
    }
    assert_eq!(bench.reason(), "the camera sent nothing for 10 s");
    bench.finish();
}

#[test]
fn a_lost_packet_is_a_hole_inside_the_segment() {
    let mut bench = Bench::playing(video_only());
    bench.send(GOP + 10, false);
    bench.camera.sequence[0] = bench.camera.sequence[0].wrapping_add(3);
    bench.send(2 * GOP - 10, false);
    assert_eq!(bench.lost(), [Loss::Packets]);
    assert_eq!(bench.recorder.stats().lost_packets, 3);
    let segments = bench.finish();
    assert_eq!(segments.len(), 1);
    // Without the three packets nobody knows what the 11th picture refers to.
    assert_eq!(segments[0].video.len(), 60);
    assert_eq!(segments[0].lost, (15, 15 * PICTURE));
}

#[test]
fn a_loss_of_more_than_a_gop_ends_the_segment() {
    let mut bench = Bench::playing(video_only());
    bench.send(GOP + 10, false);
    let end = bench.began.ticks().0 + 35 * PICTURE;
    bench.camera.sequence[0] = bench.camera.sequence[0].wrapping_add(200);
    bench.next += 2 * GOP;
    bench.send(2 * GOP - 10, false);
    let segments = bench.finish();
    let from = end + (2 * GOP + 15) * PICTURE;
    assert_eq!(segments[1].holes, [(end, from, Cause::MediaLost)]);
    assert_eq!(segments[0].end, Some(end));
}

#[test]
fn a_full_pool_costs_pictures_and_nothing_else() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(GOP, true);
    bench.stalled = Some(Vec::new());
    // 10 s of 5 Mbit/s are twice the pool.
    for _ in 0..10 * GOP {
        bench.send_one(true, 25_000);
    }
    assert!(bench.lost().contains(&Loss::Overload));
    assert!(bench.pool.borrow().free() < 3);
    let kept = bench.stalled.take().unwrap();
    let mut pool = bench.pool.borrow_mut();
    kept.into_iter().for_each(|f| pool.give_fragment(f));
    drop(pool);
    bench.resume();
    bench.send(4 * GOP, true);
    assert!(bench.open);
    let segments = bench.finish();
    let causes: Vec<_> = segments
        .iter()
        .flat_map(|s| &s.holes)
        .map(|h| h.2)
        .collect();
    assert_eq!(causes, [Cause::Restarted, Cause::Overload]);
    assert!(segments.last().unwrap().video.len() >= 75);
}

#[test]
fn other_parameters_begin_a_segment_without_a_gap() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(GOP, true);
    bench.camera.script.sps = Some(SPS_WITHOUT_VUI);
    bench.send(GOP, true);
    assert_eq!(bench.events()[3..], ["Recording", "Recording"]);
    let segments = bench.finish();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].end, Some(segments[1].start));
    assert!(segments[1].holes.is_empty());
}

#[test]
fn a_jump_of_rtp_time_costs_nothing_where_nothing_is_missing() {
    for jump in [3600 * 90_000, -3600 * 90_000] {
        let mut bench = Bench::playing(CameraScript::default());
        bench.send(GOP + 10, true);
        bench.camera.jump(jump, jump / 15 * 8);
        bench.send(2 * GOP - 10, true);
        assert_eq!(bench.lost(), []);
        let segments = bench.finish();
        let pictures: usize = segments.iter().map(|s| s.video.len()).sum();
        assert_eq!(pictures, 75);
        let shown: Vec<u64> = segments.iter().flat_map(shown).collect();
        assert!(
            shown.windows(2).all(|p| p[1] - p[0] == PICTURE),
            "{shown:?}"
        );
    }
}

#[test]
fn a_jump_over_a_pause_is_a_hole() {
    for at_sync in [true, false] {
        let mut bench = Bench::playing(video_only());
        bench.send(GOP + if at_sync { 0 } else { 10 }, false);
        let end = bench.began.ticks().0 + bench.next * PICTURE;
        bench.pass(Duration::from_secs(5));
        bench.began = bench.began + Duration::from_secs(5);
        bench.camera.jump(3600 * 90_000, 0);
        bench.send(2 * GOP - if at_sync { 0 } else { 10 }, false);
        assert_eq!(bench.lost(), [Loss::Jump]);
        let segments = bench.finish();
        let again = end + 5 * SECOND + if at_sync { 0 } else { 15 * PICTURE };
        assert_eq!(segments[1].holes, [(end, again, Cause::MediaLost)]);
    }
}

#[test]
fn reordered_pictures_are_decoded_in_time() {
    // What the VUI declares is known from the first picture on; what it does not, from the first
    // one that comes out of order.
    for (sps, lost) in [
        (SPS_REORDERED, vec![]),
        (SPS_WITHOUT_VUI, vec![Loss::Order]),
    ] {
        let mut bench = Bench::playing(CameraScript {
            sps: Some(sps),
            ..CameraScript::default()
        });
        bench.order = Some(&REORDERED);
        bench.send(8 * GOP, true);
        assert_eq!(bench.lost(), lost);
        let missing = lost.len() * 23;
        let segments = bench.finish();
        let shown: Vec<u64> = segments.iter().flat_map(shown).collect();
        assert_eq!(shown.len(), 200 - missing);
        // The second is lost, and all that follow the third.
        let steps = shown.windows(2).filter(|p| p[1] - p[0] != PICTURE);
        let holes: Vec<u64> = steps.map(|p| (p[1] - p[0]) / PICTURE).collect();
        assert_eq!(holes, [3, 22][..2 * lost.len()]);
    }
}

#[test]
fn a_stop_seals_and_says_goodbye() {
    for cause in [None, Some(Cause::Inactive)] {
        let mut bench = Bench::playing(CameraScript::default());
        bench.send(GOP + 5, true);
        let end = bench.began.ticks().0 + 30 * PICTURE;
        bench.input(Input::Stop(cause));
        assert_eq!(bench.segments[0].end, Some(end));
        assert_eq!(bench.camera.requests.last().unwrap(), "TEARDOWN");
        // When `cvr` ends, the ring itself notes since when video is missing.
        assert_eq!(bench.aways(), Vec::from_iter(cause));
        let farewell = bench.log.len() - 2 - bench.aways().len();
        assert!(matches!(
            bench.log[farewell..farewell + 2],
            [Output::Send(_), Output::Disconnect]
        ));
        bench.pass(Duration::from_secs(3600));
        assert!(!bench.camera.requests.ends_with(&["OPTIONS".to_owned()]));
        bench.finish();
    }
}

#[test]
fn an_inactive_camera_is_left_alone() {
    let mut inactive = config();
    inactive.active = false;
    let mut bench = Bench::with(CameraScript::default(), inactive.clone());
    bench.pass(Duration::from_secs(100));
    assert!(matches!(bench.log[..], [Output::Away(_, Cause::Inactive)]));
    bench.recorder.reconfigure(bench.now, config());
    bench.drain();
    bench.input(Input::Timeout);
    bench.resume();
    let first = bench.now.ticks().0;
    bench.send(GOP, true);
    bench.recorder.reconfigure(bench.now, inactive);
    bench.drain();
    assert_eq!(bench.camera.requests.last().unwrap(), "TEARDOWN");
    assert_eq!(bench.aways(), [Cause::Inactive; 2]);
    assert!(bench.events().ends_with(&["Inactive"]));
    bench.pass(Duration::from_secs(100));
    bench.recorder.reconfigure(bench.now, config());
    bench.drain();
    bench.input(Input::Timeout);
    bench.resume();
    let again = bench.now.ticks().0;
    bench.send(GOP, true);
    let segments = bench.finish();
    let start = Instant::from_millis(5_000).ticks().0;
    assert_eq!(
        segments[0].holes,
        [
            (0, start, Cause::Restarted),
            (start, first, Cause::Inactive)
        ]
    );
    let end = segments[0].end.unwrap();
    assert_eq!(segments[1].holes, [(end, again, Cause::Inactive)]);
}

#[test]
fn a_camera_that_moved_is_found_at_its_new_address() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(GOP, true);
    let mut moved = config();
    moved.session.address = CameraAddress::parse("rtsp://192.0.2.2:8554/b").unwrap().0;
    moved.cutting.segment_length = Duration::from_secs(1);
    bench.recorder.reconfigure(bench.now, moved.clone());
    bench.drain();
    bench.input(Input::Timeout);
    let connects = |bench: &Bench| {
        let connects = bench.log.iter().filter_map(|output| match output {
            Output::Connect(host, port) => Some(format!("{host}:{port}")),
            _ => None,
        });
        connects.collect::<Vec<_>>()
    };
    assert_eq!(connects(&bench), ["192.0.2.1:554", "192.0.2.2:8554"]);
    // Other lengths alone do not cost the connection.
    moved.cutting.segment_length = Duration::from_secs(2);
    bench.recorder.reconfigure(bench.now, moved);
    bench.drain();
    bench.pass(Duration::from_secs(1));
    bench.resume();
    bench.send(5 * GOP, true);
    assert_eq!(connects(&bench).len(), 2);
    let segments = bench.finish();
    assert_eq!(segments.len(), 4);
    assert_eq!(segments[1].holes.last().unwrap().2, Cause::Restarted);
}

#[test]
fn a_redirection_is_followed_also_while_playing() {
    let mut bench = Bench::new(CameraScript {
        redirect: Some("rtsp://192.0.2.9:8554/c"),
        ..CameraScript::default()
    });
    assert!(bench.reason().contains("redirects in a circle"));
    bench.camera.script.redirect = None;
    bench.pass(Duration::from_secs(3));
    bench.resume();
    bench.send(GOP, true);
    let packets = b"REDIRECT * RTSP/1.0\r\nCSeq: 1\r\nLocation: rtsp://192.0.2.9:8554/c\r\n\r\n";
    bench.feed(packets);
    assert!(!bench.open, "what was recorded is sealed");
    assert!(
        bench
            .events()
            .ends_with(&["Connected", "Described", "Playing"])
    );
    bench.pass(Duration::from_secs(1));
    bench.resume();
    bench.send(GOP, true);
    let segments = bench.finish();
    assert_eq!(segments[1].holes[0].2, Cause::CameraDisconnected);
    assert_eq!(segments[1].video.len(), 25);
}

#[test]
fn a_wrong_password_is_told_without_telling_it() {
    for scheme in [Scheme::Basic, Scheme::Digest] {
        let mut bench = Bench::new(CameraScript {
            refuses: Some(scheme),
            ..CameraScript::default()
        });
        bench.pass(Duration::from_secs(300));
        assert!(bench.waits().len() > 5);
        assert_eq!(
            bench.reason(),
            "the camera refuses user name or password (401): check rtspUserName and rtspPassword"
        );
        let told = bench
            .log
            .iter()
            .filter(|output| !matches!(output, Output::Send(_)));
        let told: String = told.map(|output| format!("{output:?}")).collect();
        let recorder = format!("{:?}", bench.recorder);
        for secret in [PASSWORD, "Authorization", "YWRtaW46"] {
            assert!(!told.contains(secret) && !recorder.contains(secret));
        }
        bench.finish();
    }
}

#[test]
fn a_camera_that_does_not_answer_is_named_so() {
    let mut bench = Bench::new(CameraScript {
        mute: true,
        ..CameraScript::default()
    });
    bench.pass(Duration::from_secs(11));
    assert!(
        bench.reason().contains("does not answer OPTIONS"),
        "{}",
        bench.reason()
    );
    bench.finish();
}

#[test]
fn what_is_no_rtsp_costs_the_session() {
    let mut bench = Bench::playing(CameraScript::default());
    bench.send(GOP, true);
    bench.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(bench.reason().contains("HTTP"), "{}", bench.reason());
    bench.finish();
}

#[test]
fn a_camera_without_sound_and_one_without_video() {
    let mut bench = Bench::playing(video_only());
    bench.send(5 * GOP, false);
    let segments = bench.finish();
    assert!(segments.iter().all(|s| s.audio.is_empty()));
    assert_eq!(segments.iter().map(|s| s.video.len()).sum::<usize>(), 125);

    let mut bench = Bench::playing(CameraScript {
        sps: None,
        ..CameraScript::default()
    });
    bench.send(5 * GOP, true);
    let mut sounds = vec![bench.sounds];
    bench.input(Input::Disconnected(Reason::Closed));
    bench.pass(Duration::from_secs(2));
    bench.resume();
    sounds.push(bench.sounds);
    let again = bench.now.ticks().0 + PICTURE;
    bench.send(GOP, true);
    sounds.push(bench.sounds);
    let segments = bench.finish();
    assert_eq!(segments.len(), 3);
    let end = segments[0].start + sounds[0] * 1920;
    assert_eq!(segments[1].end, Some(end));
    assert_eq!(segments[2].holes, [(end, again, Cause::CameraDisconnected)]);
    let heard: Vec<_> = segments.iter().map(|s| s.audio.len() as u64).collect();
    assert_eq!(heard[0] + heard[1], sounds[0]);
    assert_eq!(heard[2], sounds[2] - sounds[1]);
}

#[test]
fn sound_before_the_first_picture_is_left_out() {
    let mut bench = Bench::playing(CameraScript {
        sps: None,
        ..CameraScript::default()
    });
    bench.send(GOP, true);
    // The camera's video is switched on.
    bench.input(Input::Disconnected(Reason::Closed));
    bench.camera.script = CameraScript::default();
    bench.pass_until_playing();
    let mut bytes = Vec::new();
    for i in 0..20 {
        bench.camera.sound(&mut bytes, i * AUDIO_FRAME, 1, 200);
    }
    bench.feed(&bytes);
    assert!(bench.segments.len() == 1 && !bench.open);
    bench.resume();
    bench.send(GOP, true);
    let segments = bench.finish();
    let early = segments[1]
        .audio
        .iter()
        .filter(|(at, _)| *at < segments[1].start);
    assert_eq!(early.count(), 0);
    assert_eq!(segments[1].video.len(), 25);
}

/// Flipped and missing bytes cost pictures and sessions; [`Bench::finish`] has the rest.
#[test]
fn noise_never_costs_the_process() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut bench = Bench::playing(CameraScript {
            sps: Some(SPS_REORDERED),
            ..CameraScript::default()
        });
        bench.order = Some(&REORDERED);
        for _ in 0..6 * GOP {
            bench.spoil = random.bits().is_multiple_of(8);
            bench.noise = random.bits();
            bench.send_one(true, 3000);
            bench.spoil = false;
            if bench.events().ends_with(&["Lost"]) {
                bench.pass_until_playing();
                bench.resume();
            }
        }
        bench.finish();
    }
}

#[test]
fn a_packet_of_thousands_of_frames_costs_them_not_the_process() {
    for sps in [None, CameraScript::default().sps] {
        let mut bench = Bench::playing(CameraScript {
            sps,
            ..CameraScript::default()
        });
        bench.send(GOP, true);
        let mut bytes = Vec::new();
        bench
            .camera
            .sound(&mut bytes, bench.sounds * AUDIO_FRAME, 4000, 1);
        bench.piece = 60_000;
        bench.feed(&bytes);
        bench.finish();
    }
}
