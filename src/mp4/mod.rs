//! MP4 (ISO/IEC 14496-12): init segment, fragments, and the front of a blob. Pure.
