//! The recorder: one engine per camera, from received bytes to fragments. Pure.

pub mod pool;
