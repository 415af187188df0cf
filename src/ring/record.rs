//! The records that the ring puts between the video: open record, seal record and check.
//!
//! A segment on flash, each part behind the other, beginning on a 4 KiB boundary:
//!
//! ```text
//! open record  seal record  init segment  fragment  check  fragment  check ...
//! 4 KiB        4 KiB        ftyp moov     moof mdat free   moof mdat free
//! ```
//!
//! From the init segment on it is a sequence of MP4 boxes that a player reads as it is.
//! Numbers are little endian, but for the header of a `free` box (ISO/IEC 14496-12 section 4.2).
//! Unused bytes are zero.
//!
//! ```text
//! open record              seal record               check
//!    0 magic "CVR-OPEN"       0 magic "CVR-SEAL"        0 size of the box, padding included
//!    8 version                8 version                 4 "free"
//!    9 continues             9 cut                      8 "cvrc"
//!   10 video                 10 damaged                12 ring identity
//!   11 audio                 11 -                      16 sequence
//!   12 ring identity         12 ring identity          24 fragment number
//!   16 sequence              16 sequence               28 fragment length, 0: padding only
//!   24 log position          24 length, to the end     32 start, ticks
//!   32 ring size, bytes         of the last check      40 end, ticks
//!   40 nonce                 32 end, ticks             48 video samples
//!   44 start: boot           40 fragments              52 audio samples
//!   48   ticks               44 video samples          56 lost pictures
//!   56   UTC estimate        48 audio samples          60 begins with a sync sample
//!   64 clock quality         52 lost pictures          64 lost, ticks
//!   65 init segment: length  56 lost, ticks            72 CRC of the fragment
//!   69   CRC                 64 CRC over all checks    76 CRC over all checks up to here
//!   73 gateway, 2 + 32                                 80 bytes of the segment known synced
//!  107 camera, 2 + 32                                  84 CRC of the above
//!  141 asset, 2 + 1040                                 88 padding
//! 1183 gaps before it, 1 + 16 * 41
//! 4092 CRC of the above    4092 CRC of the above
//! ```
//!
//! Every CRC is CRC-32C, seeded with ring identity, sequence and nonce. The nonce is new at each
//! start of `cvr`, so that what an earlier start left behind unsynced never passes either, and
//! an open record names its own log position: an older lap's has a smaller one.

use crc32c::{crc32c, crc32c_append};

use super::bytes::{In, Out};
use crate::gap::{Gaps, Point};
use crate::limits::{
    ASSET_NAME_MAX, BLOCK_SIZE, CHAIN_BLOCKS_MAX, INIT_SEGMENT_MAX, NAME_MAX, PAGE,
};
use crate::media::Tracks;
use crate::segment::FragmentInfo;
use crate::time::{ClockQuality, Ticks};

/// Bytes in front of the init segment: open record and seal record.
pub const RECORDS_LEN: u64 = 2 * PAGE as u64;

/// Bytes of a check without padding.
pub const CHECK_LEN: usize = 88;

/// Most bytes of `moof` and the header of `mdat`.
pub const FRAGMENT_HEAD_MAX: usize = BLOCK_SIZE;

/// Most bytes of a fragment: a full chain behind its `moof`.
pub const FRAGMENT_LEN_MAX: usize = CHAIN_BLOCKS_MAX * BLOCK_SIZE + FRAGMENT_HEAD_MAX;

const VERSION: u8 = 1;
const OPEN_MAGIC: &[u8; 8] = b"CVR-OPEN";
const SEAL_MAGIC: &[u8; 8] = b"CVR-SEAL";
const CRC_AT: usize = PAGE - 4;
const RUNNING_AT: usize = 76;

/// What tells the bytes of one segment from all others in the run; seeds every CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The ring's random identity.
    pub identity: u32,
    /// The segment's number in its ring.
    pub sequence: u64,
    /// Random number of the start of `cvr` that recorded it.
    pub nonce: u32,
}

impl Key {
    /// First value of every CRC of this segment.
    pub fn seed(self) -> u32 {
        let mut bytes = [0; 16];
        Out::new(&mut bytes)
            .u32(self.identity)
            .u64(self.sequence)
            .u32(self.nonce);
        crc32c(&bytes)
    }
}

/// The names a segment was recorded under; its blob uses these, whatever the configuration
/// says later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `gatewayName`.
    pub gateway: heapless::String<NAME_MAX>,
    /// The camera's `name`.
    pub camera: heapless::String<NAME_MAX>,
    /// The resolved asset name.
    pub asset: heapless::String<ASSET_NAME_MAX>,
}

/// First page of a segment, written when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRecord {
    /// Which segment.
    pub key: Key,
    /// Its log position; the physical one is this modulo `ring_size`.
    pub position: u64,
    /// Bytes of the ring's run.
    pub ring_size: u64,
    /// Presentation time of its first video sample, with UTC as believed then.
    pub start: Point,
    /// What was known of UTC then.
    pub clock: ClockQuality,
    /// What it was recorded as.
    pub names: Names,
    /// Which tracks its init segment declares.
    pub tracks: Tracks,
    /// It was cut inside a GOP: it plays only after its predecessor.
    pub continues: bool,
    /// Bytes of the init segment.
    pub init_length: u32,
    /// CRC-32C of the init segment.
    pub init_crc: u32,
    /// Video missing between the previous segment's end and `start`.
    pub gaps: Gaps,
}

impl OpenRecord {
    /// The record as on flash.
    pub fn encode(&self, page: &mut [u8; PAGE]) {
        Out::new(page)
            .bytes(OPEN_MAGIC)
            .u8(VERSION)
            .flag(self.continues)
            .flag(self.tracks.video)
            .flag(self.tracks.audio)
            .u32(self.key.identity)
            .u64(self.key.sequence)
            .u64(self.position)
            .u64(self.ring_size)
            .u32(self.key.nonce)
            .point(self.start)
            .clock(self.clock)
            .u32(self.init_length)
            .u32(self.init_crc)
            .text(&self.names.gateway)
            .text(&self.names.camera)
            .text(&self.names.asset)
            .gaps(&self.gaps);
        finish(page, self.key);
    }

    /// The record in `page`; `None` if there is none, or not a whole one.
    pub fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let (mut fields, crc) = body(page, OPEN_MAGIC)?;
        let continues = fields.flag()?;
        let tracks = Tracks {
            video: fields.flag()?,
            audio: fields.flag()?,
        };
        let (identity, sequence) = (fields.u32()?, fields.u64()?);
        let (position, ring_size) = (fields.u64()?, fields.u64()?);
        let key = Key {
            identity,
            sequence,
            nonce: fields.u32()?,
        };
        let record = Self {
            key,
            position,
            ring_size,
            start: fields.point()?,
            clock: fields.clock()?,
            tracks,
            continues,
            init_length: fields.u32()?,
            init_crc: fields.u32()?,
            names: Names {
                gateway: fields.text()?,
                camera: fields.text()?,
                asset: fields.text()?,
            },
            gaps: fields.gaps()?,
        };
        let fits = usize::try_from(record.init_length).is_ok_and(|len| len <= INIT_SEGMENT_MAX);
        (fits && crc == page_crc(page, key)).then_some(record)
    }

    /// Offset of the first fragment from the segment's first byte.
    pub fn data_offset(&self) -> u64 {
        RECORDS_LEN + u64::from(self.init_length)
    }
}

/// Sums over the fragments of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Fragments.
    pub fragments: u32,
    /// Video samples.
    pub video_samples: u32,
    /// Audio samples.
    pub audio_samples: u32,
    /// Pictures missing inside.
    pub lost_pictures: u32,
    /// The time they would have filled.
    pub lost: Ticks,
}

impl Totals {
    /// Counts one more fragment.
    pub fn add(&mut self, info: &FragmentInfo) {
        self.fragments = self.fragments.saturating_add(1);
        self.video_samples = self.video_samples.saturating_add(info.video_samples);
        self.audio_samples = self.audio_samples.saturating_add(info.audio_samples);
        self.lost_pictures = self.lost_pictures.saturating_add(info.lost_pictures);
        self.lost = self.lost + info.lost;
    }
}

/// Second page of a segment, written once, when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRecord {
    /// Which segment.
    pub key: Key,
    /// Bytes from the segment's first byte to the end of its last check.
    pub length: u64,
    /// End of its last video sample.
    pub end: Ticks,
    /// Sums over its fragments; of a damaged one over those that were good.
    pub totals: Totals,
    /// CRC over all checks.
    pub checks: u32,
    /// Recovery ended it after its last good fragment.
    pub cut: bool,
    /// Recovery found a bad fragment with good ones behind it.
    pub damaged: bool,
}

impl SealRecord {
    /// The record as on flash.
    pub fn encode(&self, page: &mut [u8; PAGE]) {
        Out::new(page)
            .bytes(SEAL_MAGIC)
            .u8(VERSION)
            .flag(self.cut)
            .flag(self.damaged)
            .skip(1)
            .u32(self.key.identity)
            .u64(self.key.sequence)
            .u64(self.length)
            .u64(self.end.0)
            .u32(self.totals.fragments)
            .u32(self.totals.video_samples)
            .u32(self.totals.audio_samples)
            .u32(self.totals.lost_pictures)
            .u64(self.totals.lost.0)
            .u32(self.checks);
        finish(page, self.key);
    }

    /// The seal of segment `key` in `page`; `None` if there is none, or not a whole one.
    pub fn decode(page: &[u8; PAGE], key: Key) -> Option<Self> {
        let (mut fields, crc) = body(page, SEAL_MAGIC)?;
        let (cut, damaged) = (fields.flag()?, fields.flag()?);
        fields.u8()?;
        fields.expect(&key.identity.to_le_bytes())?;
        fields.expect(&key.sequence.to_le_bytes())?;
        let record = Self {
            key,
            length: fields.u64()?,
            end: fields.ticks()?,
            totals: Totals {
                fragments: fields.u32()?,
                video_samples: fields.u32()?,
                audio_samples: fields.u32()?,
                lost_pictures: fields.u32()?,
                lost: fields.ticks()?,
            },
            checks: fields.u32()?,
            cut,
            damaged,
        };
        (crc == page_crc(page, key)).then_some(record)
    }
}

/// The `free` box behind a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Bytes of the box, padding included.
    pub size: u32,
    /// The fragment's number in its segment, from 0; of padding, the next fragment's.
    pub number: u32,
    /// Bytes of the fragment in front of it; 0: only padding.
    pub length: u32,
    /// What the recorder said of the fragment.
    pub info: FragmentInfo,
    /// CRC-32C of the fragment.
    pub content: u32,
    /// CRC-32C over all checks of the segment up to this one.
    pub running: u32,
    /// Bytes of the segment that were synced when this was written.
    pub synced: u32,
}

impl Check {
    /// The box as on flash, without its padding. Sets `running` to follow `previous`.
    pub fn encode(&mut self, key: Key, previous: u32) -> [u8; CHECK_LEN] {
        let mut bytes = [0; CHECK_LEN];
        let info = &self.info;
        Out::new(&mut bytes)
            .bytes(&self.size.to_be_bytes())
            .bytes(b"freecvrc")
            .u32(key.identity)
            .u64(key.sequence)
            .u32(self.number)
            .u32(self.length)
            .u64(info.start.0)
            .u64(info.end.0)
            .u32(info.video_samples)
            .u32(info.audio_samples)
            .u32(info.lost_pictures)
            .u32(u32::from(info.begins_with_sync))
            .u64(info.lost.0)
            .u32(self.content);
        let (front, back) = bytes.split_at_mut(RUNNING_AT);
        self.running = crc32c_append(previous, front);
        Out::new(back).u32(self.running).u32(self.synced);
        if let Some((front, crc)) = bytes.split_last_chunk_mut() {
            *crc = crc32c_append(key.seed(), front).to_le_bytes();
        }
        bytes
    }

    /// The check of segment `key` in `bytes`; `None` if there is none, or not a whole one, or
    /// it does not follow `previous`, where that is known.
    pub fn decode(bytes: &[u8; CHECK_LEN], key: Key, previous: Option<u32>) -> Option<Self> {
        let (front, crc) = bytes.split_last_chunk()?;
        if crc32c_append(key.seed(), front) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut fields = In(bytes);
        let size = fields.array().map(u32::from_be_bytes)?;
        fields.expect(b"freecvrc")?;
        fields.expect(&key.identity.to_le_bytes())?;
        fields.expect(&key.sequence.to_le_bytes())?;
        let (number, length) = (fields.u32()?, fields.u32()?);
        let mut info = FragmentInfo {
            start: fields.ticks()?,
            end: fields.ticks()?,
            video_samples: fields.u32()?,
            audio_samples: fields.u32()?,
            lost_pictures: fields.u32()?,
            ..FragmentInfo::default()
        };
        info.begins_with_sync = fields.u32()? == 1;
        info.lost = fields.ticks()?;
        let check = Self {
            size,
            number,
            length,
            info,
            content: fields.u32()?,
            running: fields.u32()?,
            synced: fields.u32()?,
        };
        let running =
            previous.map(|crc| crc32c_append(crc, bytes.get(..RUNNING_AT).unwrap_or(&[])));
        let follows = running.is_none_or(|running| running == check.running);
        let padding = usize::try_from(size).ok()?.checked_sub(CHECK_LEN)?;
        (follows && padding < 2 * PAGE).then_some(check)
    }
}

fn finish(page: &mut [u8; PAGE], key: Key) {
    let crc = page_crc(page, key);
    if let Some(to) = page.last_chunk_mut() {
        *to = crc.to_le_bytes();
    }
}

fn page_crc(page: &[u8; PAGE], key: Key) -> u32 {
    crc32c_append(key.seed(), page.get(..CRC_AT).unwrap_or(&[]))
}

/// The fields behind magic and version, and the page's CRC.
fn body<'a>(page: &'a [u8; PAGE], magic: &[u8; 8]) -> Option<(In<'a>, u32)> {
    let mut fields = In(page);
    fields.expect(magic)?;
    fields.expect(&[VERSION])?;
    Some((fields, u32::from_le_bytes(*page.last_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::{Cause, Gap};
    use crate::time::UtcMillis;

    fn key() -> Key {
        Key {
            identity: 0x1234_5678,
            sequence: 42,
            nonce: 7,
        }
    }

    fn open_record() -> OpenRecord {
        let point = |ticks| Point {
            boot: 3,
            ticks: Ticks(ticks),
            estimate: UtcMillis(-5),
        };
        let mut gaps = Gaps::new();
        for i in 0..16 {
            gaps.push(Gap {
                start: point(i * 10),
                end: point(i * 10 + 5),
                cause: Cause::Overload,
            });
        }
        OpenRecord {
            key: key(),
            position: 1 << 40,
            ring_size: 1 << 24,
            start: point(160),
            clock: ClockQuality::Corrected,
            names: Names {
                gateway: heapless::String::try_from("warehouse-3").unwrap(),
                camera: heapless::String::try_from("front-door").unwrap(),
                asset: "ä".repeat(ASSET_NAME_MAX / 2).as_str().try_into().unwrap(),
            },
            tracks: Tracks {
                video: true,
                audio: false,
            },
            continues: true,
            init_length: 700,
            init_crc: 99,
            gaps,
        }
    }

    #[test]
    fn an_open_record_reads_back_and_no_changed_byte_passes() {
        let mut page = [0; PAGE];
        open_record().encode(&mut page);
        assert_eq!(OpenRecord::decode(&page), Some(open_record()));
        for at in 0..PAGE {
            page[at] ^= 1;
            assert_eq!(OpenRecord::decode(&page), None, "byte {at}");
            page[at] ^= 1;
        }
    }

    #[test]
    fn a_seal_record_reads_back_for_its_own_segment_only() {
        let seal = SealRecord {
            key: key(),
            length: 1 << 30,
            end: Ticks(1 << 50),
            totals: Totals {
                fragments: 30,
                video_samples: 750,
                audio_samples: 1300,
                lost_pictures: 2,
                lost: Ticks(7200),
            },
            checks: 5,
            cut: true,
            damaged: false,
        };
        let mut page = [0; PAGE];
        seal.encode(&mut page);
        assert_eq!(SealRecord::decode(&page, key()), Some(seal));
        for other in others() {
            assert_eq!(SealRecord::decode(&page, other), None);
        }
        for at in 0..PAGE {
            page[at] ^= 0x80;
            assert_eq!(SealRecord::decode(&page, key()), None, "byte {at}");
            page[at] ^= 0x80;
        }
    }

    #[test]
    fn a_check_reads_back_for_its_own_segment_and_predecessor_only() {
        let mut check = Check {
            size: 4000,
            number: 3,
            length: 250_308,
            info: FragmentInfo {
                start: Ticks(1),
                end: Ticks(90_001),
                video_samples: 25,
                audio_samples: 46,
                begins_with_sync: true,
                lost_pictures: 1,
                lost: Ticks(3600),
            },
            content: 0xABCD,
            running: 0,
            synced: 12_288,
        };
        let mut bytes = check.encode(key(), 11);
        assert_eq!(&bytes[..8], [0, 0, 15, 160, b'f', b'r', b'e', b'e']);
        assert_eq!(Check::decode(&bytes, key(), Some(11)), Some(check));
        assert_eq!(Check::decode(&bytes, key(), None), Some(check));
        assert_eq!(Check::decode(&bytes, key(), Some(12)), None);
        for other in others() {
            assert_eq!(Check::decode(&bytes, other, None), None);
        }
        for at in 0..CHECK_LEN {
            bytes[at] ^= 4;
            assert_eq!(Check::decode(&bytes, key(), None), None, "byte {at}");
            bytes[at] ^= 4;
        }
    }

    fn others() -> [Key; 3] {
        [
            Key {
                identity: 1,
                ..key()
            },
            Key {
                sequence: 41,
                ..key()
            },
            Key { nonce: 8, ..key() },
        ]
    }
}
