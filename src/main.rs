//! `cvr`: arguments and exit codes.

fn main() {}
