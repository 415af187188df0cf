//! Progress while rings are made: a bar on a terminal, a line every tenth elsewhere.

use std::io::{IsTerminal, Write, stderr};

use crate::limits::MIB;
use crate::ring;

/// Where progress is shown.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    /// What was shown last of each ring: tenths, or on a terminal hundredths.
    shown: Vec<(String, u64)>,
}

impl Progress {
    /// On standard error.
    pub fn to_standard_error() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            shown: Vec::new(),
        }
    }

    /// A ring is searched for its records.
    pub fn recovery(&mut self, name: &str, step: ring::Progress) {
        if let ring::Progress::Scanning { at, of } = step {
            self.show(name, "searching the ring", at, of);
        }
    }

    /// `done` of `all` bytes of a ring are made.
    pub fn preparing(&mut self, name: &str, done: u64, all: u64) {
        self.show(name, "making the ring", done, all);
    }

    fn show(&mut self, name: &str, what: &str, done: u64, all: u64) {
        let steps = if self.terminal { 100 } else { 10 };
        let step = done * steps / all.max(1);
        let at = self.shown.iter().position(|(shown, _)| shown == name);
        let last = match at.and_then(|at| self.shown.get_mut(at)) {
            Some((_, last)) => last,
            None => {
                self.shown.push((name.to_owned(), u64::MAX));
                let Some((_, last)) = self.shown.last_mut() else {
                    return;
                };
                last
            }
        };
        if core::mem::replace(last, step) != step {
            let line = line(self.terminal, name, what, done, all);
            // A log that nobody reads must not stop the recording.
            let _ = stderr().write_all(line.as_bytes());
        }
    }
}

fn line(terminal: bool, name: &str, what: &str, done: u64, all: u64) -> String {
    let (done_mib, all_mib) = (done / MIB, all / MIB);
    if !terminal {
        return format!(
            "{name}: {what}, {} %, {done_mib} of {all_mib} MiB\n",
            done * 100 / all.max(1)
        );
    }
    let filled = usize::try_from(done * 30 / all.max(1))
        .unwrap_or(30)
        .min(30);
    let end = if done >= all { "\n" } else { "" };
    format!(
        "\r\x1b[K{name}: {what} [{}{}] {:>3} %  {done_mib} of {all_mib} MiB{end}",
        "=".repeat(filled),
        " ".repeat(30 - filled),
        done * 100 / all.max(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_bar_and_a_file_gets_lines() {
        let bar = line(true, "front-door", "making the ring", 512 * MIB, 2048 * MIB);
        assert!(
            bar.starts_with('\r') && bar.contains("[=======  ") && bar.contains(" 25 %"),
            "{bar}"
        );
        assert!(line(true, "a", "b", MIB, MIB).ends_with("1 of 1 MiB\n"));
        assert_eq!(
            line(false, "a", "b", MIB, 4 * MIB),
            "a: b, 25 %, 1 of 4 MiB\n"
        );
    }
}
