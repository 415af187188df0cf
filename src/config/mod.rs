//! The configuration file: reading, judging, and its words. Pure.
