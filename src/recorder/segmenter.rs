//! The segmenter: samples to fragments, fragments to segments (DESIGN "Cutting").
//!
//! A segment begins with a sync sample and ends at the first sync sample at which
//! `segmentLength` is reached. An audio frame belongs to the segment in which it begins, so the
//! last fragment of a segment stays open for up to a second after the cut.

use core::time::Duration;

use super::builder::{Builder, Keep, VideoSample};
use super::fragment::{Fragment, Start};
use super::pool::{ChainTail, Pool};
use crate::gap::{Cause, Hole};
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_SAMPLES_MAX};
use crate::media::{AudioDescription, TrackKind, Tracks, VideoDescription};
use crate::mp4::init::write_init;
use crate::rtp::Full;
use crate::segment::{Holes, SegmentEnd, SegmentStart};
use crate::time::{Instant, TIMESCALE, Ticks};

/// What the configuration says about cutting.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// `segmentLength`.
    pub segment_length: Duration,
    /// Half of `flashSyncInterval`.
    pub fragment_length: Duration,
    /// Size of the ring, bytes.
    pub ring_bytes: u64,
}

/// What goes to the flash thread, in this order.
#[derive(Debug)]
pub enum Output {
    /// The next fragment; the first of a segment brings its start.
    Fragment(Box<Fragment>),
    /// The segment of the last fragment ends.
    End(SegmentEnd),
}

/// One camera's segments.
#[derive(Debug)]
pub struct Segmenter {
    cutting: Cutting,
    video: Option<VideoDescription>,
    audio: Option<AudioDescription>,
    /// The segment that `current` belongs to.
    segment: Option<Segment>,
    current: Builder,
    closing: Option<Closing>,
    /// Fragments so far (`mfhd`).
    sequence: u32,
    /// The next sync sample begins a segment, whatever its length.
    cut_next: bool,
    hole: Option<(Ticks, Cause)>,
    holes: Holes,
    /// End of the last video.
    end: Ticks,
    /// Until the next sample tells: as long as the one before.
    picture_length: Ticks,
    last_dts: Option<Ticks>,
    last_sync: Option<Ticks>,
    gop: Ticks,
    last_audio: Option<Instant>,
    last_audio_at: Option<Ticks>,
    output: heapless::Deque<Output, 8>,
}

#[derive(Debug)]
struct Segment {
    start: Ticks,
    /// End of what was recorded before.
    floor: Ticks,
    start_rtp: u32,
    bytes: u64,
    video_samples: usize,
    audio_samples: usize,
    /// Goes with the first fragment.
    unsent: Option<Start>,
}

/// The segment before the current one: its last fragment waits for late audio.
#[derive(Debug)]
struct Closing {
    segment: Segment,
    fragment: Builder,
    end: Ticks,
    deadline: Instant,
}

/// How long a segment waits for audio that belongs to it.
const LATE_AUDIO: Duration = Duration::from_secs(1);

/// One access unit ends at most two segments, each with its last fragment.
const OUTPUTS_AT_ONCE: usize = 4;

/// A fragment whose next sample does not come is finished this long after its time.
const STALL: Duration = Duration::from_millis(100);

impl Segmenter {
    /// No segment yet. The time before the first has cause `cause`.
    pub fn new(cutting: Cutting, cause: Cause) -> Self {
        Self {
            cutting,
            video: None,
            audio: None,
            segment: None,
            current: Builder::default(),
            closing: None,
            sequence: 0,
            cut_next: false,
            hole: Some((Ticks(0), cause)),
            holes: Holes::new(),
            end: Ticks(0),
            picture_length: Ticks(u64::from(TIMESCALE) / 25),
            last_dts: None,
            last_sync: None,
            gop: Ticks(u64::from(TIMESCALE)),
            last_audio: None,
            last_audio_at: None,
            output: heapless::Deque::new(),
        }
    }

    /// Other limits, from the next decision on.
    pub fn set_cutting(&mut self, cutting: Cutting) {
        self.cutting = cutting;
    }

    /// The tracks from the next sync sample on. Other ones end the segment there.
    pub fn set_tracks(&mut self, video: Option<VideoDescription>, audio: Option<AudioDescription>) {
        self.cut_next |= self.segment.is_some() && (self.video != video || self.audio != audio);
        (self.video, self.audio) = (video, audio);
    }

    /// End of the video so far; what comes next may not begin before it.
    pub fn end(&self) -> Ticks {
        self.end
    }

    /// Length of a picture, as the last ones tell.
    pub fn picture_length(&self) -> Ticks {
        self.picture_length
    }

    /// How far the times of the segment may still be moved back: nothing of it was told yet. `None`
    /// once a fragment of it has been sent.
    pub fn movable(&self) -> Option<Ticks> {
        let Some(segment) = &self.segment else {
            return Some(Ticks(0));
        };
        segment.unsent.as_ref()?;
        Some(
            segment
                .start
                .since(segment.floor)
                .min(self.current.earliest()),
        )
    }

    /// All times of the segment so far were too late by `by`, at most [`Segmenter::movable`].
    pub fn move_back(&mut self, by: Ticks) {
        let Some(segment) = &mut self.segment else {
            return;
        };
        let Some(start) = &mut segment.unsent else {
            return;
        };
        segment.start = segment.start.since(by);
        start.segment.start = segment.start;
        end_holes(&mut start.segment.holes, segment.start);
        self.current.move_back(by);
        self.end = self.end.since(by).max(segment.floor);
        let times = [
            &mut self.last_dts,
            &mut self.last_sync,
            &mut self.last_audio_at,
        ];
        for at in times.into_iter().flatten() {
            *at = at.since(by);
        }
    }

    /// The buffer of the video access unit in progress. `Full`: the pool is used up.
    pub fn access_unit<'a>(&'a mut self, pool: &'a mut Pool) -> Result<ChainTail<'a>, Full> {
        self.current.tail(pool)
    }

    /// Drops the video access unit in progress.
    pub fn drop_access_unit(&mut self, pool: &mut Pool) {
        self.current.drop_tail(pool);
    }

    /// Video is missing from the end of the last sample, or from `at` if that is later, on.
    pub fn lose(&mut self, at: Ticks, cause: Cause) {
        (self.last_dts, self.last_sync) = (None, None);
        match self.hole {
            None => self.hole = Some((self.end, cause)),
            Some((_, same)) if same == cause => {}
            Some((start, before)) => {
                let at = at.max(start);
                push_hole(
                    &mut self.holes,
                    Hole {
                        start,
                        end: at,
                        cause: before,
                    },
                );
                self.hole = Some((at, cause));
            }
        }
    }

    /// The access unit in progress is complete. `Full`: it was dropped; all until the next sync
    /// sample is to be dropped too.
    pub fn video(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        let result = self.place_video(now, pool, sample);
        if result.is_err() {
            self.current.drop_tail(pool);
        }
        result
    }

    /// An audio access unit that begins at `at` and lasts `length`. `Full`: it was dropped.
    pub fn audio(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        at: Ticks,
        length: Ticks,
        data: &[u8],
    ) -> Result<(), Full> {
        // An RTP packet may hold thousands of (empty) frames.
        if self.output.len() + OUTPUTS_AT_ONCE > self.output.capacity() {
            return Err(Full);
        }
        self.last_audio = Some(now);
        // A camera whose sound goes back in time: no decoder takes that.
        if self.last_audio_at.is_some_and(|last| at <= last) {
            return Ok(());
        }
        self.last_audio_at = Some(at);
        if let Some(closing) = &mut self.closing {
            if at < closing.end {
                closing.segment.audio_samples += 1;
                return closing.fragment.push_audio(now, pool, at, length, data);
            }
            closing.fragment.end_last_audio(at);
            self.finish_closing(pool);
        }
        if self.video.is_none() {
            self.cut_audio_only(now, pool, at)?;
        }
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        if at < segment.start {
            return Ok(());
        }
        segment.audio_samples += 1;
        self.current.push_audio(now, pool, at, length, data)?;
        if self.video.is_none() {
            self.end = at + length;
        }
        Ok(())
    }

    /// Ends the segment where its video ends: the camera is gone, or recording stops.
    pub fn finish(&mut self, pool: &mut Pool) {
        self.current.drop_tail(pool);
        self.finish_closing(pool);
        if let Some(segment) = self.segment.take() {
            self.end_segment(pool, segment, self.end);
        }
        self.current.clear(pool);
        (self.last_dts, self.last_sync, self.last_audio) = (None, None, None);
    }

    /// Finishes what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
        if self
            .closing
            .as_ref()
            .is_some_and(|closing| closing.deadline <= now)
        {
            self.finish_closing(pool);
        }
        if self
            .fragment_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            // The access unit in progress, and audio ahead of the video, go on in the next.
            match self
                .current
                .split(now, pool, self.audio_bound(), Keep::Ended)
            {
                Ok(next) => self.finish_fragment(pool, next),
                // No block is free for the rest, and there is none: as it is. Otherwise all
                // blocks could come to wait in fragments that nobody can end.
                Err(Full) if self.current.tail_len() == 0 => {
                    self.finish_fragment(pool, Builder::default());
                }
                Err(Full) => self.current.wait_from(now),
            }
        }
    }

    /// When [`Segmenter::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        [closing, self.fragment_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing for the flash thread.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    fn place_video(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        if !sample.sync && (self.segment.is_none() || self.hole.is_some()) {
            self.current.drop_tail(pool);
            return Ok(());
        }
        if self.segment.is_none() {
            self.begin(pool, sample)?;
        } else if self.hole.is_some() {
            self.resume_after_hole(now, pool, sample)?;
        } else {
            self.current.end_last_video(sample.dts);
            self.cut(now, pool, sample)?;
        }
        self.add_video(now, sample);
        Ok(())
    }

    /// Ends segment or fragment before `sample` where it is time.
    fn cut(&mut self, now: Instant, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let Some(segment) = &self.segment else {
            return Ok(());
        };
        let ring = self.cutting.ring_bytes;
        let bytes = segment.bytes + self.current.bytes();
        let length = u64::from(sample.rtp.wrapping_sub(segment.start_rtp));
        let full = bytes >= (ring / 4).min(SEGMENT_BYTES_MAX)
            || segment.video_samples.max(segment.audio_samples) >= SEGMENT_SAMPLES_MAX - 512;
        let due = self.cut_next
            || length >= Ticks::from_duration(self.cutting.segment_length).0
            || bytes >= ring / 8;
        if full || (sample.sync && due) {
            return self.next_segment(now, pool, sample);
        }
        let long = self.current.length_to(TrackKind::Video, sample.dts)
            >= Ticks::from_duration(self.cutting.fragment_length);
        // A card that is behind gets what there is: only what is synced frees the pool.
        let scarce = pool.free() < pool.blocks() / 4;
        let ends = sample.sync || long || scarce || !self.current.has_room();
        if self.current.has_video() && ends {
            let next = self.current.split(now, pool, sample.pts, Keep::AllVideo)?;
            self.finish_fragment(pool, next);
        }
        Ok(())
    }

    /// `sample` begins the next segment where this one ends.
    fn next_segment(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        self.finish_closing(pool);
        let start = self.start(pool, sample.pts, !sample.sync)?;
        let next = match self.current.split(now, pool, sample.pts, Keep::All) {
            Ok(next) => next,
            Err(full) => {
                pool.give(start.init);
                return Err(full);
            }
        };
        let fragment = core::mem::replace(&mut self.current, next);
        if let Some(segment) = self
            .segment
            .replace(Segment::new(start, sample.rtp, sample.pts))
        {
            let deadline = now + LATE_AUDIO;
            self.closing = Some(Closing {
                segment,
                fragment,
                end: sample.pts,
                deadline,
            });
        }
        if !self.audio_flows(now) {
            self.finish_closing(pool);
        }
        self.cut_next = false;
        Ok(())
    }

    /// The first sync sample after missing video. A hole of up to one GOP stays inside the segment.
    fn resume_after_hole(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        sample: VideoSample,
    ) -> Result<(), Full> {
        let missing = sample.pts.since(self.end);
        if missing > self.gop || !self.holes.is_empty() {
            let next = self.current.split(now, pool, sample.pts, Keep::All)?;
            self.finish_closing(pool);
            if let Some(segment) = self.segment.take() {
                self.end_segment(pool, segment, self.end);
            }
            self.current = next;
            return self.begin(pool, sample);
        }
        // The last picture before the hole stands until the next: no player stalls.
        self.current.end_last_video(sample.dts);
        self.hole = None;
        self.cut(now, pool, sample)?;
        let pictures = missing.0 / self.picture_length.0.max(1);
        self.current
            .add_loss(u32::try_from(pictures).unwrap_or(u32::MAX), missing);
        Ok(())
    }

    /// `sample` begins the first segment, or the first after a hole.
    fn begin(&mut self, pool: &mut Pool, sample: VideoSample) -> Result<(), Full> {
        let start = self.start(pool, sample.pts, false)?;
        self.segment = Some(Segment::new(start, sample.rtp, self.end));
        self.cut_next = false;
        Ok(())
    }

    /// What begins at `at`, with its init segment. On success the holes are told.
    fn start(&mut self, pool: &mut Pool, at: Ticks, continues: bool) -> Result<Start, Full> {
        let mut init = pool.take().ok_or(Full)?;
        let written = write_init(&mut init, self.video.as_ref(), self.audio.as_ref());
        let Ok(init_len) = written else {
            pool.give(init);
            return Err(Full);
        };
        if let Some((start, cause)) = self.hole.take() {
            push_hole(
                &mut self.holes,
                Hole {
                    start,
                    end: at,
                    cause,
                },
            );
        }
        let holes = core::mem::take(&mut self.holes);
        let tracks = Tracks {
            video: self.video.is_some(),
            audio: self.audio.is_some(),
        };
        let segment = SegmentStart {
            start: at,
            holes,
            continues,
            tracks,
        };
        Ok(Start {
            segment,
            init,
            init_len,
        })
    }

    fn add_video(&mut self, now: Instant, sample: VideoSample) {
        if let Some(last) = self.last_dts
            && (1..=u64::from(TIMESCALE)).contains(&sample.dts.since(last).0)
        {
            self.picture_length = sample.dts - last;
        }
        if sample.sync {
            if let Some(last) = self.last_sync {
                self.gop = self.gop.max(sample.pts.since(last));
            }
            self.last_sync = Some(sample.pts);
        }
        self.last_dts = Some(sample.dts);
        self.current.push_video(now, sample, self.picture_length);
        self.end = self.end.max(sample.pts + self.picture_length);
        if let Some(segment) = &mut self.segment {
            segment.video_samples += 1;
        }
    }

    /// A camera without video: every audio frame is a sync sample.
    fn cut_audio_only(&mut self, now: Instant, pool: &mut Pool, at: Ticks) -> Result<(), Full> {
        if self.audio.is_none() {
            return Ok(());
        }
        let as_sample = VideoSample {
            pts: at,
            dts: at,
            rtp: u32_of(at),
            sync: true,
        };
        if self.segment.is_some() && at.since(self.end) > Ticks(u64::from(TIMESCALE)) {
            self.finish(pool);
            self.lose(at, Cause::MediaLost);
        }
        if self.segment.is_none() {
            return self.begin(pool, as_sample);
        }
        let length = self
            .segment
            .as_ref()
            .map_or(Ticks(0), |segment| at.since(segment.start));
        if self.cut_next || length >= Ticks::from_duration(self.cutting.segment_length) {
            self.next_segment(now, pool, as_sample)?;
            self.finish_closing(pool);
        } else if self.current.length_to(TrackKind::Audio, at)
            >= Ticks::from_duration(self.cutting.fragment_length)
        {
            let next = self.current.split(now, pool, at, Keep::AllVideo)?;
            self.finish_fragment(pool, next);
        }
        Ok(())
    }

    /// The current fragment is complete; `next` takes its place.
    fn finish_fragment(&mut self, pool: &mut Pool, next: Builder) {
        self.finish_closing(pool);
        let mut done = core::mem::replace(&mut self.current, next);
        if let Some(mut segment) = self.segment.take() {
            self.send(pool, &mut segment, &mut done);
            self.segment = Some(segment);
        }
    }

    fn end_segment(&mut self, pool: &mut Pool, mut segment: Segment, end: Ticks) {
        let mut last = core::mem::take(&mut self.current);
        self.send(pool, &mut segment, &mut last);
        self.emit_end(pool, segment, end);
    }

    fn finish_closing(&mut self, pool: &mut Pool) {
        let Some(mut closing) = self.closing.take() else {
            return;
        };
        self.send(pool, &mut closing.segment, &mut closing.fragment);
        self.emit_end(pool, closing.segment, closing.end);
    }

    fn emit_end(&mut self, pool: &mut Pool, segment: Segment, end: Ticks) {
        // A segment that never had a fragment is not begun on flash either.
        match segment.unsent {
            Some(start) => pool.give(start.init),
            None => self.emit(Output::End(SegmentEnd { end })),
        }
    }

    fn send(&mut self, pool: &mut Pool, segment: &mut Segment, fragment: &mut Builder) {
        segment.bytes += fragment.bytes();
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(mut fragment) = fragment.finish(pool, self.sequence) {
            fragment.start = segment.unsent.take();
            self.emit(Output::Fragment(fragment));
        }
    }

    fn emit(&mut self, output: Output) {
        assert!(
            self.output.push_back(output).is_ok(),
            "outputs are drained after each input"
        );
    }

    fn fragment_deadline(&self) -> Option<Instant> {
        let open = self.segment.is_some() && self.current.can_be_finished();
        open.then(|| self.current.opened() + self.cutting.fragment_length + STALL)
    }

    /// Audio up to here goes with the current fragment when it is finished for its age.
    fn audio_bound(&self) -> Ticks {
        if self.video.is_some() {
            self.end
        } else {
            Ticks(u64::MAX)
        }
    }

    fn audio_flows(&self, now: Instant) -> bool {
        self.last_audio
            .is_some_and(|last| now.since(last) < 2 * LATE_AUDIO)
    }
}

impl Segment {
    fn new(start: Start, start_rtp: u32, floor: Ticks) -> Self {
        Self {
            start: start.segment.start,
            floor,
            start_rtp,
            bytes: 0,
            video_samples: 0,
            audio_samples: 0,
            unsent: Some(start),
        }
    }
}

/// Adds a hole behind the others; without room, or without length, the last grows.
fn push_hole(holes: &mut Holes, hole: Hole) {
    if hole.end <= hole.start {
        return;
    }
    if let Err(hole) = holes.push(hole)
        && let Some(last) = holes.last_mut()
    {
        last.end = hole.end;
    }
}

/// The holes reach to `end` only.
fn end_holes(holes: &mut Holes, end: Ticks) {
    while holes.last().is_some_and(|last| last.start >= end) {
        holes.pop();
    }
    if let Some(last) = holes.last_mut() {
        last.end = end;
    }
}

/// The RTP time of a camera without video: its timeline's.
fn u32_of(at: Ticks) -> u32 {
    u32::try_from(at.0 & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
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
            self.segmenter
                .audio(
                    self.now,
                    &mut self.pool,
                    Ticks(at),
                    Ticks(AUDIO_FRAME),
                    &[1; 200],
                )
                .unwrap();
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
        assert!(due <= bench.now + LATE_AUDIO);
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
        let mut bench = Bench::new(300, 16 << 20, false);
        for i in 0..100 {
            bench
                .picture(900_000 + i * PICTURE, i % 25 == 0, 100_000)
                .unwrap();
        }
        let lengths: Vec<_> = bench
            .finish()
            .iter()
            .map(|s| (s.video, s.continues))
            .collect();
        assert_eq!(
            lengths,
            [(25, false), (25, false), (25, false), (25, false)]
        );
        let mut bench = Bench::new(300, 16 << 20, false);
        for i in 0..100 {
            bench
                .picture(900_000 + i * PICTURE, i == 0, 100_000)
                .unwrap();
        }
        let lengths: Vec<_> = bench
            .finish()
            .iter()
            .map(|s| (s.video, s.continues))
            .collect();
        assert_eq!(lengths, [(42, false), (42, true), (16, true)]);
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
}
