//! The log, on standard error: `2026-11-21T20:30:00.123Z Information front-door: text`.
//!
//! Only `cvr`'s own records are told. Libraries log URLs, and a URL may hold a SAS.

use core::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::LogLevel;
use crate::time::UtcMillis;

/// Most bytes of a line; longer ones are cut.
const LINE_MAX: usize = 1024;

struct Logger {
    now: fn() -> UtcMillis,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the log, once, with the time of its lines from `now`. A panic is told in it, too.
pub fn init(level: LogLevel, now: fn() -> UtcMillis) {
    if log::set_logger(LOGGER.get_or_init(|| Logger { now })).is_ok() {
        panic::set_hook(Box::new(tell_panic));
    }
    set_level(level);
}

/// Changes what is told.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Verbose => LevelFilter::Trace,
        LogLevel::Information => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::None => LevelFilter::Off,
    });
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target == "cvr" || target.starts_with("cvr::")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            tell((self.now)(), record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Tells a panic in one line, whatever the level. The messages of our own assertions hold no
/// secrets, for a secret does not print itself.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let Some(logger) = LOGGER.get() else { return };
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    let now = (logger.now)();
    match info.location() {
        Some(location) => tell(
            now,
            Level::Error,
            &format_args!("panic at {location}: {text}"),
        ),
        None => tell(now, Level::Error, &format_args!("panic: {text}")),
    }
}

/// Writes one line with one call, so that lines of two threads never mix.
fn tell(now: UtcMillis, level: Level, text: &fmt::Arguments<'_>) {
    let mut line = Line::default();
    line.set(now, level, text);
    // There is nobody left to tell that standard error is gone.
    let _gone = io::stderr().write_all(line.bytes());
}

/// One line in fixed memory, with control characters escaped: a camera's words must not be able
/// to begin a line of their own.
#[derive(Default)]
struct Line {
    text: heapless::String<LINE_MAX>,
}

impl Line {
    fn set(&mut self, now: UtcMillis, level: Level, text: &fmt::Arguments<'_>) {
        let word = match level {
            Level::Error => "Error",
            Level::Warn => "Warning",
            Level::Info => "Information",
            Level::Debug | Level::Trace => "Verbose",
        };
        // A full line is a cut line, not an error.
        let _cut = write!(self, "{now} {word} {text}");
        let _fits = self.text.push('\n');
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // The last byte is the line end's.
            let (escaped, plain) = if c.is_control() {
                (Some(c.escape_default()), None)
            } else {
                (None, Some(c))
            };
            for c in escaped.into_iter().flatten().chain(plain) {
                if self.text.len() + c.len_utf8() >= LINE_MAX {
                    return Err(fmt::Error);
                }
                self.text.push(c).map_err(|_| fmt::Error)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_795_293_000_123);

    fn line(level: Level, text: &fmt::Arguments<'_>) -> String {
        let mut line = Line::default();
        line.set(NOW, level, text);
        String::from_utf8(line.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_line_has_time_level_and_text() {
        for (level, word) in [
            (Level::Error, "Error"),
            (Level::Warn, "Warning"),
            (Level::Info, "Information"),
            (Level::Debug, "Verbose"),
            (Level::Trace, "Verbose"),
        ] {
            let expected = format!("2026-11-21T20:30:00.123Z {word} front-door: online\n");
            assert_eq!(
                line(level, &format_args!("front-door: {}", "online")),
                expected
            );
        }
    }

    #[test]
    fn a_line_stays_one_line_and_within_its_memory() {
        let text = line(Level::Info, &format_args!("a\r\nb\u{1b}[2J\u{85}ä"));
        assert!(text.ends_with(" a\\r\\nb\\u{1b}[2J\\u{85}ä\n"), "{text}");
        for length in LINE_MAX - 50..LINE_MAX + 50 {
            let text = line(Level::Info, &format_args!("{}ä{}", "x".repeat(length), "y"));
            assert!(text.len() <= LINE_MAX && text.ends_with('\n'), "{length}");
        }
    }

    #[test]
    fn only_our_own_records_are_told() {
        let logger = Logger { now: || NOW };
        for (target, told) in [
            ("cvr", true),
            ("cvr::rtsp", true),
            ("cvrx", false),
            ("ureq::run", false),
            ("rustls::client", false),
        ] {
            let metadata = Metadata::builder().target(target).build();
            assert_eq!(logger.enabled(&metadata), told, "{target}");
        }
    }

    const CHILD: &str = "CVR_LOGGER_TEST_CHILD";

    /// The log is one for a process: this test runs itself again in a process of its own.
    #[test]
    fn a_panic_is_told_in_the_log() {
        if std::env::var_os(CHILD).is_some() {
            init(LogLevel::Warning, || NOW);
            log::info!("below the level");
            log::warn!(target: "ureq", "not ours");
            log::warn!("front-door: offline");
            set_level(LogLevel::None);
            log::error!("below the level");
            panic!("one\ntwo");
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "os::logger::tests::a_panic_is_told_in_the_log",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let log = String::from_utf8(child.stderr).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let [warning, panic] = lines[..] else {
            panic!("{log}");
        };
        assert_eq!(
            warning,
            "2026-11-21T20:30:00.123Z Warning front-door: offline"
        );
        assert!(panic.starts_with("2026-11-21T20:30:00.123Z Error panic at src/os/logger.rs:"));
        assert!(panic.ends_with(": one\\ntwo"), "{panic}");
    }
}
