//! Rule 3 of the data path: once recording, nothing is allocated between packet and flash.
//!
//! One test, alone in its process: every thread's allocations are counted. Those for requests and
//! receiver reports to the camera, every 10 s, are text and bytes of the control path.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod gateway;

use std::alloc::System;

use gateway::Gateway;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

#[test]
fn nothing_is_allocated_between_packet_and_flash() {
    let mut gateway = Gateway::start("allocations", 16, allocations);
    // Beyond the first segment and the first receiver report.
    while gateway.ring().cursors.counters.sealed < 2 {
        gateway.picture();
    }
    let before = gateway.ring().cursors.counters;
    let (control, begun) = (gateway.for_control, allocations());
    for _ in 0..150 * 25 {
        gateway.picture();
    }
    let allocated = allocations() - begun;
    let control = gateway.for_control - control;
    let after = gateway.ring().cursors.counters;
    println!("{allocated} allocations, {control} of them for requests and reports");
    assert_eq!(allocated - control, 0);
    assert!(control > 0, "the session was kept alive meanwhile");
    assert!(after.sealed - before.sealed >= 15, "{after:?}");
    assert!(after.evicted_unsent >= 8, "{after:?}");
}
