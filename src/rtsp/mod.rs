//! RTSP 1.0 client (RFC 2326): framer, session, authentication, SDP. Pure.
