//! Pictures and sounds of a made-up camera become segments.

use super::*;
use crate::media::ParameterSets;
use crate::mp4::moof::read_moof;
use crate::rtp::AccessUnitBuffer;

const PICTURE: u64 = 3600;
const AUDIO_FRAME: u64 = 1920;

/// A camera of 25 pictures a second, a sync sample every `gop`, AAC at 48 kHz.
struct Bench {
    segmenter: Segmenter,
    pool: Pool,
    now: Instant,
    segments: Vec<Seen>,
    open: bool,
    /// RTP time minus timeline.
    lead: u64,
}

#[derive(Debug, Default)]
struct Seen {
    start: u64,
    end: Option<u64>,
    holes: Vec<(u64, u64, Cause)>,
    video: u32,
    audio: Vec<u64>,
    lost: (u32, u64),
    fragments: u32,
    continues: bool,
}

fn description() -> (VideoDescription, AudioDescription) {
    let sps = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0x88];
    let mut sets = ParameterSets::default();
    sets.sps
        .push(heapless::Vec::from_slice(&sps).unwrap())
        .unwrap();
    sets.pps
        .push(heapless::Vec::from_slice(&[0x68, 0xce, 0x38, 0x80]).unwrap())
        .unwrap();
    let video = VideoDescription {
        sets,
        width: 640,
        height: 480,
        pixel_aspect: (1, 1),
        reorder_depth: 0,
    };
    let audio = AudioDescription {
        config: heapless::Vec::from_slice(&[0x11, 0x90]).unwrap(),
        sample_rate: 48_000,
        channels: 2,
        frame_length: 1024,
    };
    (video, audio)
}

impl Bench {
    fn new(segment_seconds: u64, ring_bytes: u64, audio: bool) -> Self {
        let cutting = Cutting {
            segment_length: Duration::from_secs(segment_seconds),
            fragment_length: Duration::from_secs(1),
            ring_bytes,
        };
        let mut segmenter = Segmenter::new(cutting, Cause::Restarted);
        let (video, sound) = description();
        segmenter.set_tracks(Some(video), audio.then_some(sound));
        let (pool, now) = (Pool::new(64), Instant::START);
        Self {
            segmenter,
            pool,
            now,
            segments: Vec::new(),
            open: false,
            lead: 0,
        }
    }

    fn picture(&mut self, at: u64, sync: bool, size: usize) -> Result<(), Full> {
        self.now = self.now.max(Instant::from_micros(at * 100 / 9));
        self.segmenter.handle_timeout(self.now, &mut self.pool);
        let appended = self
            .segmenter
            .access_unit(&mut self.pool)?
            .append(&vec![7; size]);
        let result = appended.and_then(|()| {
            let (pts, dts) = (Ticks(at), Ticks(at));
            let rtp = u32::try_from(at + self.lead)
                .unwrap()
                .wrapping_add(4_294_000_000);
            let sample = VideoSample {
                pts,
                dts,
                rtp,
                sync,
            };
            self.segmenter.video(self.now, &mut self.pool, sample)
        });
        self.drain();
        result
    }

    fn sound(&mut self, at: u64) {
        let sample = AudioSample {
            at: Ticks(at),
            length: Ticks(AUDIO_FRAME),
            data: &[1; 200],
        };
        let recorded = self.segmenter.audio(self.now, &mut self.pool, sample);
        recorded.unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.segmenter.poll_output() {
            match output {
                Output::Fragment(fragment) => self.see(fragment),
                Output::End(end) => {
                    assert!(core::mem::take(&mut self.open));
                    self.segments.last_mut().unwrap().end = Some(end.end.0);
                }
            }
        }
    }

    fn see(&mut self, fragment: Box<Fragment>) {
        if let Some(start) = &fragment.start {
            assert!(!core::mem::replace(&mut self.open, true));
            let segment = &start.segment;
            self.segments.push(Seen {
                start: segment.start.0,
                holes: segment
                    .holes
                    .iter()
                    .map(|h| (h.start.0, h.end.0, h.cause))
                    .collect(),
                continues: segment.continues,
                ..Seen::default()
            });
        }
        let seen = self.segments.last_mut().unwrap();
        let bytes: Vec<u8> = fragment.pieces().flatten().copied().collect();
        let view = read_moof(&bytes).unwrap();
        assert_eq!(
            bytes.len(),
            fragment.head_len + fragment.video.len() + fragment.audio.len()
        );
        for run in &view.runs {
            let mut at = run.base_decode_time.0;
            for sample in run.samples() {
                match run.track {
                    TrackKind::Video => seen.video += 1,
                    TrackKind::Audio => seen.audio.push(at),
                }
                at += u64::from(sample.duration);
            }
        }
        seen.fragments += 1;
        seen.lost.0 += fragment.info.lost_pictures;
        seen.lost.1 += fragment.info.lost.0;
        self.pool.give_fragment(fragment);
    }

    fn finish(mut self) -> Vec<Seen> {
        self.segmenter.finish(&mut self.pool);
        self.drain();
        assert_eq!(self.pool.free(), 64, "every block is back");
        self.segments
    }
}

#[test]
fn segments_end_at_the_first_sync_sample_at_their_length() {
    let mut bench = Bench::new(2, 1 << 30, false);
    for i in 0..25 * 10 {
        bench
            .picture(900_000 + i * PICTURE, i % 30 == 0, 1000)
            .unwrap();
    }
    let segments = bench.finish();
    let times: Vec<_> = segments.iter().map(|s| (s.start, s.end.unwrap())).collect();
    let sync = |n: u64| 900_000 + n * 30 * PICTURE;
    let end = 900_000 + 250 * PICTURE;
    assert_eq!(
        times,
        [
            (sync(0), sync(2)),
            (sync(2), sync(4)),
            (sync(4), sync(6)),
            (sync(6), sync(8)),
            (sync(8), end)
        ]
    );
    assert_eq!(segments[0].holes, [(0, 900_000, Cause::Restarted)]);
    assert!(
        segments[1..]
            .iter()
            .all(|s| s.holes.is_empty() && !s.continues)
    );
    assert_eq!(segments.iter().map(|s| s.video).sum::<u32>(), 250);
    assert_eq!(
        segments[0].fragments, 4,
        "25 pictures, then 5 up to the sync sample, twice"
    );
}

#[test]
fn audio_is_in_the_segment_in_which_it_begins_however_early_or_late_it_comes() {
    for (lead, what) in [(0, "with"), (30_000, "ahead"), (-40_000, "behind")] {
        let mut bench = Bench::new(1, 1 << 30, true);
        let mut sound = 900_000_i64;
        for i in 0..25 * 5 {
            let at = 900_000 + i * PICTURE;
            while sound < i64::try_from(at).unwrap() + lead {
                bench.sound(u64::try_from(sound).unwrap());
                sound += i64::try_from(AUDIO_FRAME).unwrap();
            }
            bench.picture(at, i % 25 == 0, 1000).unwrap();
        }
        let segments = bench.finish();
        assert_eq!(segments.len(), 5, "{what}");
        for segment in &segments {
            let range = segment.start..segment.end.unwrap() + if lead > 0 { 30_000 } else { 0 };
            assert!(
                segment.audio.iter().all(|at| range.contains(at)),
                "{what}: {segment:?}"
            );
        }
        let all: Vec<_> = segments.iter().flat_map(|s| &s.audio).collect();
        assert!(
            all.windows(2).all(|pair| *pair[1] == pair[0] + AUDIO_FRAME),
            "{what}"
        );
        assert!(segments[1].audio.len() >= 46, "{what}");
    }
}

#[test]
fn times_can_be_moved_back_until_the_first_fragment_is_sent() {
    let mut bench = Bench::new(10, 1 << 30, true);
    assert_eq!(bench.segmenter.movable(), Some(Ticks(0)));
    bench.picture(900_000, true, 1000).unwrap();
    bench.sound(900_500);
    assert_eq!(bench.segmenter.movable(), Some(Ticks(900_000)));
    bench.segmenter.move_back(Ticks(100_000));
    bench.sound(800_500 + AUDIO_FRAME);
    bench.lead = 100_000;
    assert_eq!(bench.segmenter.end(), Ticks(800_000 + PICTURE));
    for i in 1..60 {
        bench
            .picture(800_000 + i * PICTURE, i % 25 == 0, 1000)
            .unwrap();
    }
    assert_eq!(bench.segmenter.movable(), None);
    let segments = bench.finish();
    assert_eq!((segments[0].start, segments[0].video), (800_000, 60));
    assert_eq!(segments[0].end, Some(800_000 + 60 * PICTURE));
    assert_eq!(segments[0].holes, [(0, 800_000, Cause::Restarted)]);
    assert_eq!(segments[0].audio, [800_500, 800_500 + AUDIO_FRAME]);
}

#[test]
fn late_audio_is_waited_for_no_longer_than_a_second() {
    let mut bench = Bench::new(1, 1 << 30, true);
    bench.picture(900_000, true, 1000).unwrap();
    bench.sound(900_000);
    for i in 1..=26 {
        bench.picture(900_000 + i * PICTURE, i == 25, 1000).unwrap();
    }
    assert!(bench.segments.is_empty(), "the first segment waits");
    let due = bench.segmenter.poll_timeout().unwrap();
    bench.segmenter.handle_timeout(due, &mut bench.pool);
    bench.drain();
    assert_eq!(bench.segments[0].end, Some(990_000));
    assert!(due <= bench.now + filling::LATE_AUDIO);
}

#[test]
fn a_hole_of_up_to_one_gop_stays_inside_and_is_counted() {
    let mut bench = Bench::new(10, 1 << 30, false);
    for i in (0..40).chain(50..100) {
        if i == 50 {
            bench.segmenter.lose(bench.now.ticks(), Cause::MediaLost);
        }
        bench
            .picture(900_000 + i * PICTURE, i % 25 == 0, 1000)
            .unwrap();
    }
    let segments = bench.finish();
    assert_eq!(segments.len(), 1);
    assert_eq!(
        (segments[0].video, segments[0].lost),
        (90, (10, 10 * PICTURE))
    );
}

#[test]
fn a_longer_hole_ends_the_segment_and_is_told_with_the_next() {
    let mut bench = Bench::new(10, 1 << 30, false);
    for i in (0..40).chain(100..150) {
        if i == 100 {
            bench.segmenter.lose(bench.now.ticks(), Cause::MediaLost);
        }
        bench
            .picture(900_000 + i * PICTURE, i % 25 == 0, 1000)
            .unwrap();
    }
    let segments = bench.finish();
    let (from, to) = (900_000 + 40 * PICTURE, 900_000 + 100 * PICTURE);
    assert_eq!((segments[0].end, segments[1].start), (Some(from), to));
    assert_eq!(segments[1].holes, [(from, to, Cause::MediaLost)]);
    assert_eq!(segments[1].lost, (0, 0));
}

#[test]
fn each_cause_of_a_hole_has_its_own_time() {
    let mut bench = Bench::new(10, 1 << 30, false);
    bench.picture(900_000, true, 1000).unwrap();
    bench.segmenter.finish(&mut bench.pool);
    bench
        .segmenter
        .lose(Ticks(950_000), Cause::CameraDisconnected);
    bench
        .segmenter
        .lose(Ticks(1_000_000), Cause::CameraDisconnected);
    bench.segmenter.lose(Ticks(1_100_000), Cause::Inactive);
    bench.picture(1_200_000, true, 1000).unwrap();
    let segments = bench.finish();
    assert_eq!(
        segments[1].holes,
        [
            (903_600, 1_100_000, Cause::CameraDisconnected),
            (1_100_000, 1_200_000, Cause::Inactive),
        ]
    );
}

#[test]
fn a_segment_is_cut_at_an_eighth_of_the_ring_and_inside_a_gop_at_a_quarter() {
    for (gop, expected) in [
        (
            25,
            &[(25, false), (25, false), (25, false), (25, false)][..],
        ),
        (100, &[(42, false), (42, true), (16, true)]),
    ] {
        let mut bench = Bench::new(300, 16 << 20, false);
        for i in 0..100 {
            let at = 900_000 + i * PICTURE;
            bench.picture(at, i % gop == 0, 100_000).unwrap();
        }
        let segments = bench.finish();
        let lengths: Vec<_> = segments.iter().map(|s| (s.video, s.continues)).collect();
        assert_eq!(lengths, expected, "{gop}");
    }
}

#[test]
fn a_full_pool_costs_pictures_up_to_the_next_sync_sample() {
    let mut bench = Bench::new(10, 1 << 30, false);
    bench.picture(900_000, true, 1000).unwrap();
    let taken: Vec<_> = core::iter::from_fn(|| bench.pool.take()).collect();
    assert_eq!(bench.picture(900_000 + PICTURE, false, 100_000), Err(Full));
    bench.segmenter.drop_access_unit(&mut bench.pool);
    bench.segmenter.lose(bench.now.ticks(), Cause::Overload);
    taken.into_iter().for_each(|block| bench.pool.give(block));
    for i in 2..60 {
        bench
            .picture(900_000 + i * PICTURE, i % 25 == 0, 1000)
            .unwrap();
    }
    let segments = bench.finish();
    assert_eq!(
        (segments[0].video, segments[0].lost),
        (36, (24, 24 * PICTURE))
    );
}

#[test]
fn an_old_fragment_ends_also_when_no_block_is_free() {
    let mut bench = Bench::new(10, 1 << 30, false);
    bench.picture(900_000, true, 1000).unwrap();
    bench.picture(900_000 + PICTURE, false, 1000).unwrap();
    let mut taken: Vec<_> = core::iter::from_fn(|| bench.pool.take()).collect();
    let due = bench.segmenter.poll_timeout().unwrap();
    // With an access unit in progress it waits: that one needs a block of its own.
    let mut unit = bench.segmenter.access_unit(&mut bench.pool).unwrap();
    unit.append(&[7; 10]).unwrap();
    bench.segmenter.handle_timeout(due, &mut bench.pool);
    bench.drain();
    assert!(bench.segments.is_empty());
    let due = bench.segmenter.poll_timeout().filter(|at| *at > due);
    bench.segmenter.drop_access_unit(&mut bench.pool);
    bench
        .segmenter
        .handle_timeout(due.unwrap(), &mut bench.pool);
    bench.drain();
    assert_eq!(bench.segments[0].video, 2);
    taken.drain(..).for_each(|block| bench.pool.give(block));
    bench.finish();
}

#[test]
fn sound_does_not_go_back_in_time() {
    let mut bench = Bench::new(10, 1 << 30, true);
    bench.picture(900_000, true, 1000).unwrap();
    for at in [0, 1, 2, 1, 2, 3] {
        bench.sound(900_000 + at * AUDIO_FRAME);
    }
    let audio = bench.finish().remove(0).audio;
    assert_eq!(audio, [0, 1, 2, 3].map(|at| 900_000 + at * AUDIO_FRAME));
}

#[test]
fn a_pause_of_the_only_sound_is_a_hole() {
    let mut bench = Bench::new(10, 1 << 30, true);
    let (_, audio) = description();
    bench.segmenter.set_tracks(None, Some(audio));
    let again = 900_000 + AUDIO_FRAME + u64::from(TIMESCALE) + 1;
    for at in [900_000, again] {
        bench.sound(at);
    }
    let segments = bench.finish();
    let hole = (900_000 + AUDIO_FRAME, again, Cause::MediaLost);
    assert_eq!(segments[1].holes, [hole]);
}

#[test]
fn other_parameters_end_the_segment_without_a_gap() {
    let mut bench = Bench::new(10, 1 << 30, false);
    bench.picture(900_000, true, 1000).unwrap();
    let (mut video, _) = description();
    video.width = 320;
    bench.segmenter.set_tracks(Some(video), None);
    bench.picture(903_600, false, 1000).unwrap();
    bench.picture(907_200, true, 1000).unwrap();
    let segments = bench.finish();
    assert_eq!(
        (segments[0].end, segments[1].start),
        (Some(907_200), 907_200)
    );
    assert!(segments[1].holes.is_empty());
}

#[test]
fn a_camera_without_video_is_cut_at_its_audio() {
    let mut bench = Bench::new(2, 1 << 30, true);
    let (_, audio) = description();
    bench.segmenter.set_tracks(None, Some(audio));
    for i in 0..500 {
        bench.sound(900_000 + i * AUDIO_FRAME);
    }
    let segments = bench.finish();
    assert_eq!(segments.iter().map(|s| s.audio.len()).sum::<usize>(), 500);
    assert_eq!(segments[0].end, Some(segments[1].start));
    assert_eq!(segments[0].audio.len(), 94);
}

#[test]
fn a_stalled_fragment_is_finished_for_its_age() {
    let mut bench = Bench::new(10, 1 << 30, false);
    bench.picture(900_000, true, 1000).unwrap();
    bench.picture(900_000 + PICTURE, false, 1000).unwrap();
    let due = bench.segmenter.poll_timeout().unwrap();
    bench.segmenter.handle_timeout(due, &mut bench.pool);
    bench.drain();
    // Only the next picture would tell how long the second one is.
    assert_eq!((bench.segments[0].video, bench.segments[0].end), (1, None));
    assert_eq!(bench.segmenter.poll_timeout(), None);
}
