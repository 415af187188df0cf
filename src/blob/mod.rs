//! Blob storage: names, Put Blob, verdicts, back-off, what to send next. Pure.
