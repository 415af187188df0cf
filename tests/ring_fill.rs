//! How much of a ring is video just before it evicts, and how much is written for it: with the
//! real segmenter, MP4 writer, flash thread and files.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod gateway;

use std::fs;
use std::os::unix::fs::MetadataExt;

use gateway::Gateway;
use nix::sys::stat::{major, minor};

/// Segments that give way before the test ends: the cost of evictions is in it.
const EVICTIONS: u64 = 8;

/// Bytes that this process gave to the kernel to write.
///
/// Its `write_bytes` would count a whole folio of the page cache for each write into it.
fn given() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let wchar = io.lines().find_map(|line| line.strip_prefix("wchar:"));
    wchar.unwrap().trim().parse().unwrap()
}

/// Bytes that the disk under the ring has written, for whomever; none where there is no disk.
fn reached_disk() -> Option<u64> {
    let device = fs::metadata(std::env::temp_dir()).ok()?.dev();
    let (major, minor) = (major(device), minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

#[test]
fn a_full_ring_is_98_percent_video_and_3_percent_more_are_written() {
    for mib in [16, 64] {
        let mut gateway = Gateway::start("ring-fill", mib, || 0);
        let size = mib * cvr::limits::MIB;
        let (given_before, disk_before) = (given(), reached_disk());
        let mut video_when_full = None;
        let mut evicted = 0;
        while evicted < EVICTIONS {
            let video = gateway.video;
            gateway.picture();
            evicted = gateway.ring().cursors.counters.evicted_unsent;
            if evicted > 0 {
                video_when_full.get_or_insert(video);
            }
        }
        let given = given() - given_before;
        let disk = reached_disk().zip(disk_before);
        let (video, full) = (gateway.video, video_when_full.unwrap());
        let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
        println!("{mib} MiB: {:.2} % video when full", percent(full, size));
        println!("{mib} MiB: {:.2} % of it written", percent(given, video));
        if let Some((after, before)) = disk {
            let most = percent(after - before, video);
            println!("{mib} MiB: {most:.2} % reached the disk, with what others wrote");
        }
        assert!(full * 100 >= size * 98, "{full} of {size}");
        assert!(given * 100 <= video * 103, "{given} for {video}");
    }
}
