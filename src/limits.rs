//! Every capacity of the gateway, in one place.
//!
//! Memory of the data path is taken at start and never grows (README, "Limits").
//! Relations between the numbers are proven at compile time.

/// 1 MiB, as in `localMediaCacheMaximumSizeMiB`.
pub const MIB: u64 = 1024 * 1024;

/// Cameras on the one event loop.
pub const CAMERAS_MAX: usize = 16;

/// Rings open at once: those of the cameras and those left by former cameras.
pub const RINGS_MAX: usize = 2 * CAMERAS_MAX;

/// Bytes of a pool block; the unit in which media memory is handed around.
pub const BLOCK_SIZE: usize = 64 * 1024;

/// Blocks in the pool of all cameras. Last in, first out: only what is used becomes resident.
pub const POOL_BLOCKS: usize = 384;

/// Largest access unit, bytes. A larger one is dropped and counted.
pub const ACCESS_UNIT_MAX: usize = 4 * 1024 * 1024;

/// Most video bytes of one fragment; the access unit that would pass it begins the next.
pub const FRAGMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most samples of one track in one fragment.
pub const FRAGMENT_SAMPLES_MAX: usize = 512;

/// Blocks of a video chain: a full fragment, an access unit behind it, and one for a start
/// that is not on a block's boundary.
pub const VIDEO_CHAIN_BLOCKS: usize = (FRAGMENT_BYTES_MAX + ACCESS_UNIT_MAX) / BLOCK_SIZE + 1;

/// Blocks of an audio chain; 10 s of 256 kbit/s AAC are five.
pub const AUDIO_CHAIN_BLOCKS: usize = 8;

/// Blocks of a whole fragment's samples.
pub const CHAIN_BLOCKS_MAX: usize = VIDEO_CHAIN_BLOCKS + AUDIO_CHAIN_BLOCKS;

/// Fragments on their way at once, of all cameras: being filled, queued, or not yet synced.
pub const FRAGMENTS_IN_FLIGHT: usize = 128;

/// Most samples of one track in one segment: 5 min at 100 pictures a second fit.
pub const SEGMENT_SAMPLES_MAX: usize = 32 * 1024;

/// Most bytes of one segment on flash.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * MIB;

/// Smallest ring, bytes.
pub const RING_BYTES_MIN: u64 = 16 * MIB;

/// Alignment of everything synced to flash, bytes.
pub const PAGE: usize = 4096;

/// Largest init segment, bytes: `ftyp` and `moov` with all parameter sets.
pub const INIT_SEGMENT_MAX: usize = 8 * 1024;

/// Largest parameter set (SPS, PPS) kept, bytes.
pub const PARAMETER_SET_MAX: usize = 512;

/// Largest AAC access unit: `sizeLength` is 13 bits in AAC-hbr (RFC 3640 section 3.3.6).
pub const AUDIO_FRAME_MAX: usize = 8191;

/// Largest interleaved packet: `$`, channel, 16-bit length, data (RFC 2326 section 10.12).
pub const INTERLEAVED_MAX: usize = 4 + 65_535;

/// Largest RTSP head and largest RTSP body, bytes.
pub const RTSP_HEAD_MAX: usize = 16 * 1024;
/// See [`RTSP_HEAD_MAX`].
pub const RTSP_BODY_MAX: usize = 48 * 1024;

/// Bytes the framer holds of one camera.
pub const FRAMER_BUFFER: usize = 132 * 1024;

/// Gaps told with one segment; more are merged.
pub const GAPS_MAX: usize = 16;

/// Boots whose UTC offsets a ring remembers.
pub const BOOTS_MAX: usize = 16;

/// Longest resolved asset name (LVA: 1 to 260 characters), in bytes of UTF-8.
pub const ASSET_NAME_MAX: usize = 4 * 260;

/// Longest gateway, camera and instance name (LVA: 32 characters).
pub const NAME_MAX: usize = 32;

const _: () = assert!(BLOCK_SIZE.is_multiple_of(PAGE));
const _: () = assert!(INIT_SEGMENT_MAX <= BLOCK_SIZE);
// What is left of a packet, and a whole buffer of the socket behind it.
const _: () = assert!(INTERLEAVED_MAX + BLOCK_SIZE <= FRAMER_BUFFER);
const _: () = assert!(RTSP_HEAD_MAX + RTSP_BODY_MAX <= FRAMER_BUFFER);
const _: () = assert!(RING_BYTES_MIN / 8 >= 2 * MIB);
const _: () = assert!((POOL_BLOCKS * BLOCK_SIZE) as u64 <= 24 * MIB);
const _: () = assert!(FRAGMENTS_IN_FLIGHT >= 4 * CAMERAS_MAX);
const _: () = assert!(CHAIN_BLOCKS_MAX + 2 <= POOL_BLOCKS);
