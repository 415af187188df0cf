//! Blobs made of real H.264 and AAC, judged by ffmpeg, ffprobe and GStreamer.
//!
//! A blob is `front | init segment, fragment, check, fragment, check, ...`. It is played as a
//! whole, as an ordinary MP4, and without its front, as a fragmented one.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may end where it stands"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cvr::limits::{INIT_SEGMENT_MAX, PAGE};
use cvr::media::{AudioDescription, ParameterSets, Sample, TrackKind, VideoDescription};
use cvr::mp4::boxes::Boxes;
use cvr::mp4::fragment::{FRAGMENT_HEAD_MAX, TrackRun, write_moof};
use cvr::mp4::front::{FrontBuilder, FrontTimes};
use cvr::mp4::init::write_init;
use cvr::time::{Ticks, UtcMillis};

/// Forty days after `cvr` started: more than 32 bits of ticks.
const BASE: u64 = 40 * 86_400 * 90_000;
/// 25 pictures a second.
const PICTURE: u64 = 3600;
/// 1024 samples at 48 kHz.
const FRAME: u64 = 1920;
/// Length of each of two segments, four GOPs.
const SEGMENT: u64 = 4 * 90_000;
const CREATION: UtcMillis = UtcMillis(1_795_293_000_001);

/// A picture or an audio frame; times on the camera's timeline.
#[derive(Clone, Debug)]
struct Unit {
    data: Vec<u8>,
    decode: u64,
    shown: u64,
    sync: bool,
}

struct Source {
    folder: PathBuf,
    video: Vec<Unit>,
    audio: Vec<Unit>,
    video_description: VideoDescription,
    audio_description: AudioDescription,
}

/// How composition offsets are said.
#[derive(Clone, Copy)]
enum Offsets {
    /// Decoding begins before the first picture is shown.
    Positive,
    /// Decoding begins when the first picture is shown; later ones may be decoded too late.
    Signed,
}

struct Blob {
    front: Vec<u8>,
    ring: Vec<u8>,
    init_length: usize,
    video: Vec<Unit>,
    audio: Vec<Unit>,
    start: u64,
    end: u64,
}

impl Blob {
    fn bytes(&self) -> Vec<u8> {
        [&self.front[..], &self.ring].concat()
    }
}

#[test]
#[ignore = "needs ffmpeg and GStreamer: run by ./tests/run"]
fn a_blob_and_its_fragments_play() {
    for (name, b_frames) in [("plain", 0), ("b-frames", 2)] {
        let source = Source::encode(name, b_frames, Offsets::Positive);
        let first = source.blob(&source.video, &source.audio, 0, SEGMENT);
        let second = source.blob(&source.video, &source.audio, SEGMENT, 2 * SEGMENT);
        judge_both_faces(&source, &first, "first.mp4");
        judge_both_faces(&source, &second, "second.mp4");

        let fragments = [&first.ring[..], &second.ring[second.init_length..]].concat();
        let path = source.write("fragments.mp4", &fragments);
        decode(&path);
        let pictures = [&first.video[..], &second.video].concat();
        let frames = [&first.audio[..], &second.audio].concat();
        assert_eq!(decoded(&path, "v"), pictures.len());
        assert_eq!(decoded(&path, "a"), frames.len());
        assert_eq!(shown(&path, "v"), times(&pictures, 0), "{name}");
        assert_eq!(shown(&path, "a"), times(&frames, 0), "{name}");
        assert_steady(&path, "v", PICTURE);
        assert_steady(&path, "a", FRAME);
    }
}

/// Only the front: in fragments ffmpeg moves the video by the largest negative offset.
#[test]
#[ignore = "needs ffmpeg and GStreamer: run by ./tests/run"]
fn a_front_with_signed_offsets_plays() {
    let source = Source::encode("signed", 2, Offsets::Signed);
    let blob = source.blob(&source.video, &source.audio, 0, SEGMENT);
    assert!(blob.video.iter().any(|unit| unit.shown < unit.decode));
    judge_front(&source, &blob, "signed.mp4");
}

#[test]
#[ignore = "needs ffmpeg and GStreamer: run by ./tests/run"]
fn a_hole_freezes_the_last_picture() {
    let source = Source::encode("hole", 0, Offsets::Positive);
    let hole = BASE + 90_000 + 10 * PICTURE..BASE + 2 * 90_000;
    let outside = |unit: &&Unit| !hole.contains(&unit.shown);
    let video: Vec<_> = source.video.iter().filter(outside).cloned().collect();
    let audio: Vec<_> = source.audio.iter().filter(outside).cloned().collect();
    let blob = source.blob(&video, &audio, 0, SEGMENT);
    assert_eq!(blob.video.len(), 100 - 15);
    judge_both_faces(&source, &blob, "hole.mp4");
}

#[test]
#[ignore = "needs ffmpeg and GStreamer: run by ./tests/run"]
fn one_track_alone_plays() {
    let source = Source::encode("one-track", 2, Offsets::Positive);
    let video_only = source.blob(&source.video, &[], 0, SEGMENT);
    judge_both_faces(&source, &video_only, "video.mp4");
    let audio_only = source.blob(&[], &source.audio, 0, SEGMENT);
    judge_both_faces(&source, &audio_only, "audio.mp4");
}

fn judge_both_faces(source: &Source, blob: &Blob, name: &str) {
    judge_front(source, blob, name);
    judge_fragments(source, blob, name);
}

/// Plays the whole blob as an ordinary MP4.
fn judge_front(source: &Source, blob: &Blob, name: &str) {
    let boxes: Vec<_> = Boxes::new(&blob.bytes())
        .map(|found| found.unwrap().kind)
        .collect();
    assert_eq!(boxes, [*b"ftyp", *b"moov", *b"mdat"]);

    let path = source.write(name, &blob.bytes());
    decode(&path);
    let audio_end = blob.audio.last().map_or(0, |frame| frame.shown + FRAME);
    for (stream, units) in [("v", &blob.video), ("a", &blob.audio)] {
        assert_eq!(decoded(&path, stream), units.len(), "{name} {stream}");
        assert_eq!(shown(&path, stream), times(units, blob.start), "{name}");
    }
    let length = blob.end - blob.start;
    if !blob.video.is_empty() {
        assert_seconds(&probe(&path, "v", "stream=duration"), length);
        if let Some(first) = blob.audio.first() {
            // ffprobe tells the end of the last edit, or of the media where that is shorter.
            let audio = (audio_end - first.shown).min(length);
            assert_seconds(&probe(&path, "a", "stream=duration"), audio);
        }
    }
    assert_seconds(&probe(&path, "", "format=duration"), length);
    let created = probe(&path, "", "format_tags=creation_time");
    assert_eq!(created, "2026-11-21T20:30:00.000000Z");
    assert_eq!(discover(&path), format!("{} True", nanoseconds(length)));
}

/// Plays the ring's bytes alone, as a fragmented MP4.
fn judge_fragments(source: &Source, blob: &Blob, name: &str) {
    let path = source.write(&format!("fragments-{name}"), &blob.ring);
    decode(&path);
    for (stream, units) in [("v", &blob.video), ("a", &blob.audio)] {
        assert_eq!(decoded(&path, stream), units.len(), "{name} {stream}");
        assert_eq!(shown(&path, stream), times(units, 0), "{name}");
    }
}

impl Source {
    /// Eight seconds of a test picture with a tone, cut into access units.
    fn encode(name: &str, b_frames: u32, offsets: Offsets) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mp4-{name}"));
        fs::create_dir_all(&folder).unwrap();
        let files = EncodedFiles::make(&folder, b_frames);
        let (access_units, sets) = access_units(&fs::read(files.annex_b).unwrap());
        let packets = packets(&files.mp4, "v");
        assert_eq!(access_units.len(), packets.len());
        let delay = match offsets {
            Offsets::Positive => 0,
            Offsets::Signed => packets[0].shown - packets[0].decode,
        };
        let video = access_units
            .into_iter()
            .zip(packets)
            .map(|(data, packet)| Unit {
                data,
                decode: BASE.checked_add_signed(packet.decode + delay).unwrap(),
                shown: BASE.checked_add_signed(packet.shown).unwrap(),
                sync: packet.sync,
            });
        let (frames, config) = audio_frames(&fs::read(files.adts).unwrap());
        // The first audio frame begins 700 ticks after the first picture.
        let audio = (BASE + 700..)
            .step_by(1920)
            .zip(frames)
            .map(|(at, data)| Unit {
                data,
                decode: at,
                shown: at,
                sync: true,
            });
        Self {
            video: video.collect(),
            audio: audio
                .take_while(|frame| frame.shown < BASE + 2 * SEGMENT)
                .collect(),
            video_description: VideoDescription {
                sets,
                width: 320,
                height: 180,
                pixel_aspect: (1, 1),
                reorder_depth: u8::try_from(b_frames.min(2)).unwrap(),
            },
            audio_description: AudioDescription {
                config: heapless::Vec::from_slice(&config).unwrap(),
                sample_rate: 48_000,
                channels: 2,
                frame_length: 1024,
            },
            folder,
        }
    }

    /// The segment from `start` to `end`, counted from [`BASE`], of the tracks that have units.
    fn blob(&self, video: &[Unit], audio: &[Unit], start: u64, end: u64) -> Blob {
        let (start, end) = (BASE + start, BASE + end);
        // Decoding order, so whole GOPs: a picture belongs to the sync sample before it.
        let within = |units: &[Unit]| -> Vec<Unit> {
            let inside = |unit: &&Unit| (start..end).contains(&unit.shown);
            units.iter().filter(inside).cloned().collect()
        };
        let (video, audio) = (within(video), within(audio));
        let mut init = [0; INIT_SEGMENT_MAX];
        let init_length = write_init(
            &mut init,
            (!video.is_empty()).then_some(&self.video_description),
            (!audio.is_empty()).then_some(&self.audio_description),
        )
        .unwrap();
        let init = &init[..init_length];

        let mut builder = FrontBuilder::new();
        builder.reset();
        let mut ring = init.to_vec();
        for fragment in fragments(&video, &audio) {
            let at = ring.len();
            let head = append_fragment(&mut ring, &fragment.0, &fragment.1);
            builder
                .add_fragment(at.try_into().unwrap(), &ring[at..at + head])
                .unwrap();
            append_check(&mut ring);
        }
        // Audio alone ends with its last frame.
        let end = match audio.last() {
            Some(last) if video.is_empty() => last.shown + FRAME,
            _ => end,
        };
        let start = match audio.first() {
            Some(first) if video.is_empty() => first.shown,
            _ => start,
        };
        let times = FrontTimes {
            start: Ticks(start),
            end: Ticks(end),
            creation: CREATION,
        };
        let bytes = ring.len().try_into().unwrap();
        let front = builder.finish(init, times, bytes).unwrap().to_vec();
        Blob {
            front,
            ring,
            init_length,
            video,
            audio,
            start,
            end,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// One encoding in three containers.
struct EncodedFiles {
    mp4: PathBuf,
    annex_b: PathBuf,
    adts: PathBuf,
}

impl EncodedFiles {
    fn make(folder: &Path, b_frames: u32) -> Self {
        let files = Self {
            mp4: folder.join("source.mp4"),
            annex_b: folder.join("source.h264"),
            adts: folder.join("source.aac"),
        };
        let mp4 = files.mp4.display();
        silent(
            "ffmpeg",
            &format!(
                "-f lavfi -i testsrc2=size=320x180:rate=25:duration=8 \
                 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=8 \
                 -c:v libx264 -preset veryfast -profile:v high -pix_fmt yuv420p -g 25 \
                 -keyint_min 25 -sc_threshold 0 -bf {b_frames} -b_strategy 0 -c:a aac -ac 2 \
                 -video_track_timescale 90000 -y {mp4}"
            ),
        );
        silent(
            "ffmpeg",
            &format!(
                "-i {mp4} -map 0:v -c copy -bsf:v h264_mp4toannexb,h264_metadata=aud=insert \
                 -f h264 -y {}",
                files.annex_b.display()
            ),
        );
        let adts = files.adts.display();
        silent(
            "ffmpeg",
            &format!("-i {mp4} -map 0:a -c copy -f adts -y {adts}"),
        );
        files
    }
}

/// Twelve pictures or fewer, all of one GOP, and the audio up to the next picture.
fn fragments(video: &[Unit], audio: &[Unit]) -> Vec<(Vec<Unit>, Vec<Unit>)> {
    if video.is_empty() {
        let runs = audio.chunks(24);
        return runs.map(|run| (Vec::new(), run.to_vec())).collect();
    }
    let mut parts: Vec<(Vec<Unit>, Vec<Unit>)> = Vec::new();
    for unit in video {
        match parts.last_mut() {
            Some((part, _)) if !unit.sync && part.len() < 12 => part.push(unit.clone()),
            _ => parts.push((vec![unit.clone()], Vec::new())),
        }
    }
    let ends: Vec<_> = parts
        .iter()
        .skip(1)
        .map(|(part, _)| part[0].decode)
        .collect();
    for frame in audio {
        let part = ends.iter().filter(|end| **end <= frame.decode).count();
        parts[part].1.push(frame.clone());
    }
    parts
}

/// Appends a fragment and returns the length of its head.
fn append_fragment(ring: &mut Vec<u8>, video: &[Unit], audio: &[Unit]) -> usize {
    let (video_samples, audio_samples) = (samples(video, PICTURE), samples(audio, FRAME));
    let run = |track, units: &[Unit], samples| TrackRun {
        track,
        base_decode_time: Ticks(units.first().map_or(0, |unit| unit.decode)),
        samples,
    };
    let mut head = vec![0; FRAGMENT_HEAD_MAX];
    let length = write_moof(
        &mut head,
        1 + u32::try_from(ring.len() / PAGE).unwrap(),
        &[
            run(TrackKind::Video, video, &video_samples),
            run(TrackKind::Audio, audio, &audio_samples),
        ],
    )
    .unwrap();
    ring.extend(&head[..length]);
    for unit in video.iter().chain(audio) {
        ring.extend(&unit.data);
    }
    length
}

fn samples(units: &[Unit], last_duration: u64) -> Vec<Sample> {
    let ends = units.iter().skip(1).map(|unit| unit.decode);
    let last = units.last().map_or(0, |unit| unit.decode + last_duration);
    let ends = ends.chain([last]);
    let sample = |(unit, end): (&Unit, u64)| Sample {
        size: unit.data.len().try_into().unwrap(),
        duration: (end - unit.decode).try_into().unwrap(),
        composition_offset: (unit.shown.cast_signed() - unit.decode.cast_signed())
            .try_into()
            .unwrap(),
        sync: unit.sync,
    };
    units.iter().zip(ends).map(sample).collect()
}

/// A `free` box that fills the page.
fn append_check(ring: &mut Vec<u8>) {
    let end = (ring.len() + 36).next_multiple_of(PAGE);
    let size = u32::try_from(end - ring.len()).unwrap();
    ring.extend(size.to_be_bytes());
    ring.extend(b"free");
    ring.resize(end, 0xA5);
}

/// Access units with 32-bit NAL unit lengths, and the parameter sets, of Annex B with access
/// unit delimiters.
fn access_units(annex_b: &[u8]) -> (Vec<Vec<u8>>, ParameterSets) {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut sets = ParameterSets::default();
    for nal in nal_units(annex_b) {
        match nal[0] & 0x1F {
            9 => units.push(Vec::new()),
            7 if sets.sps.is_empty() => {
                sets.sps.push(nal.try_into().unwrap()).unwrap();
            }
            8 if sets.pps.is_empty() => {
                sets.pps.push(nal.try_into().unwrap()).unwrap();
            }
            7 | 8 => {}
            _ => {
                let unit = units.last_mut().unwrap();
                unit.extend(u32::try_from(nal.len()).unwrap().to_be_bytes());
                unit.extend(nal);
            }
        }
    }
    (units, sets)
}

fn nal_units(annex_b: &[u8]) -> Vec<&[u8]> {
    let codes = annex_b.windows(3).enumerate();
    let starts: Vec<_> = codes
        .filter_map(|(at, code)| (code == [0, 0, 1]).then_some(at + 3))
        .collect();
    let ends = starts.iter().skip(1).map(|at| at - 3);
    let ends = ends.chain([annex_b.len()]);
    let nal = |(start, end): (&usize, usize)| {
        let zeros = annex_b[..end].iter().rev().take_while(|byte| **byte == 0);
        &annex_b[*start..end - zeros.count()]
    };
    starts.iter().zip(ends).map(nal).collect()
}

/// Frames and AudioSpecificConfig of ADTS without CRC (ISO/IEC 13818-7 section 6.2).
fn audio_frames(mut adts: &[u8]) -> (Vec<Vec<u8>>, [u8; 2]) {
    let mut frames = Vec::new();
    let profile_rate_channels = u16::from_be_bytes([adts[2], adts[3]]);
    let object = (profile_rate_channels >> 14) + 1;
    let rate = profile_rate_channels >> 10 & 0xF;
    let channels = profile_rate_channels >> 6 & 7;
    while let [0xFF, 0xF1, _, high, middle, low, _, ..] = adts {
        let length = usize::from(high & 3) << 11 | usize::from(*middle) << 3;
        let (frame, rest) = adts.split_at(length | usize::from(low >> 5));
        frames.push(frame[7..].to_vec());
        adts = rest;
    }
    assert!(adts.is_empty());
    let config = object << 11 | rate << 7 | channels << 3;
    (frames, config.to_be_bytes())
}

struct Packet {
    shown: i64,
    decode: i64,
    sync: bool,
}

/// The packets of a stream in file order.
fn packets(path: &Path, stream: &str) -> Vec<Packet> {
    let text = probe(path, stream, "packet=pts,dts,flags");
    let packet = |line: &str| {
        let fields: Vec<_> = line.trim_end_matches(',').split(',').collect();
        Packet {
            shown: fields[0].parse().unwrap(),
            decode: fields[1].parse().unwrap(),
            sync: fields[2].starts_with('K'),
        }
    };
    text.lines().map(packet).collect()
}

/// Presentation times and sync flags of a stream as ffprobe sees them.
fn shown(path: &Path, stream: &str) -> Vec<(i64, bool)> {
    let packets = packets(path, stream);
    packets
        .iter()
        .map(|packet| (packet.shown, packet.sync))
        .collect()
}

/// The same as they were recorded, counted from `start`.
fn times(units: &[Unit], start: u64) -> Vec<(i64, bool)> {
    let shown = |unit: &Unit| ((unit.shown - start).cast_signed(), unit.sync);
    units.iter().map(shown).collect()
}

/// Decoding times go on without a hole.
fn assert_steady(path: &Path, stream: &str, duration: u64) {
    let packets = packets(path, stream);
    for pair in packets.windows(2) {
        let step = pair[1].decode - pair[0].decode;
        assert_eq!(step, duration.cast_signed(), "{} {stream}", path.display());
    }
}

/// Decodes all of it and takes no complaint.
fn decode(path: &Path) {
    silent(
        "ffmpeg",
        &format!(
            "-xerror -err_detect explode -i {} -f null -",
            path.display()
        ),
    );
}

/// How many pictures or audio frames of a stream can be decoded.
fn decoded(path: &Path, stream: &str) -> usize {
    let options = format!("-count_frames {}", path.display());
    let count = ffprobe(&options, stream, "stream=nb_read_frames");
    if count.is_empty() {
        0
    } else {
        count.parse().unwrap()
    }
}

fn probe(path: &Path, stream: &str, entries: &str) -> String {
    ffprobe(&path.display().to_string(), stream, entries)
}

fn ffprobe(options: &str, stream: &str, entries: &str) -> String {
    let select = match stream {
        "" => String::new(),
        stream => format!("-select_streams {stream}"),
    };
    silent(
        "ffprobe",
        &format!("{select} -show_entries {entries} -of csv=p=0 {options}"),
    )
}

/// Duration in nanoseconds and seekability by GStreamer's discoverer.
fn discover(path: &Path) -> String {
    const SCRIPT: &str = "
import sys, gi
gi.require_version('Gst', '1.0')
gi.require_version('GstPbutils', '1.0')
from gi.repository import Gst, GstPbutils
Gst.init(None)
info = GstPbutils.Discoverer.new(10 * Gst.SECOND).discover_uri('file://' + sys.argv[1])
print(info.get_duration(), info.get_seekable())
";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .arg(path)
        .output();
    text("python3 with GStreamer", output)
}

fn nanoseconds(ticks: u64) -> u64 {
    ticks * 100_000 / 9
}

fn assert_seconds(seconds: &str, ticks: u64) {
    let micros = (ticks * 100 + 4) / 9;
    let exact = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    assert_eq!(seconds, exact);
}

/// Runs an ffmpeg tool that must succeed without a word of warning.
fn silent(tool: &str, arguments: &str) -> String {
    let mut command = Command::new(tool);
    if tool == "ffmpeg" {
        command.args(["-nostdin", "-hide_banner"]);
    }
    let output = command
        .args(["-v", "warning"])
        .args(arguments.split_whitespace())
        .output();
    text(&format!("{tool} {arguments}"), output)
}

/// Standard output of a tool that must be there, succeed and have nothing to complain of.
fn text(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}: is it installed?"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{what}: {}: {complaints}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
