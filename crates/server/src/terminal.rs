//! What the command line prints.
#![allow(clippy::print_stdout)]

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One line on standard output.
pub fn line(text: &str) {
    println!("{text}");
}

/// One line on standard error.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Shows the progress of a load or pull on standard error, when it takes more than a second: in place on a terminal, a
/// line now and then elsewhere.
pub struct ProgressBar {
    started: Instant,
    state: Mutex<State>,
}

struct State {
    shown_at: Option<Instant>,
    in_place: bool,
}

/// Progress appears after this time.
const QUIET: Duration = Duration::from_secs(1);
/// Pause between two lines on a terminal.
const FAST: Duration = Duration::from_millis(100);
/// Pause between two lines elsewhere.
const SLOW: Duration = Duration::from_secs(5);

impl ProgressBar {
    /// Starts the clock.
    pub fn new() -> Self {
        let state = State { shown_at: None, in_place: std::io::stderr().is_terminal() };
        Self { started: Instant::now(), state: Mutex::new(state) }
    }

    fn show(&self, text: &str) {
        if self.started.elapsed() < QUIET {
            return;
        }
        let Ok(mut state) = self.state.lock() else { return };
        let pause = if state.in_place { FAST } else { SLOW };
        if state.shown_at.is_some_and(|shown_at| shown_at.elapsed() < pause) {
            return;
        }
        state.shown_at = Some(Instant::now());
        let mut stderr = std::io::stderr();
        let _ = if state.in_place { write!(stderr, "\r\x1b[K{text}") } else { writeln!(stderr, "{text}") };
        let _ = stderr.flush();
    }

    /// Clears what was shown in place.
    pub fn finish(&self) {
        if let Ok(state) = self.state.lock()
            && state.in_place
            && state.shown_at.is_some()
        {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl image::Progress for ProgressBar {
    fn layer(&self, digest: &str, done: u64, total: Option<u64>, phase: image::Phase) {
        let short = digest.split_once(':').map_or(digest, |(_, hex)| hex).get(..12).unwrap_or(digest);
        let total = total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
        self.show(&format!("{short}: {phase:?} {}{total}", bytes(done)));
    }

    fn message(&self, text: &str) {
        self.show(text);
    }
}

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
