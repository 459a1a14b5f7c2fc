//! [`Transcript`]: what happened, line by line.

use std::collections::VecDeque;

/// Lines kept: enough to see what led to a failure, also after days.
const LINES_KEPT: usize = 4000;

/// What happened. Of all lines it keeps a digest, so that two runs can be compared whole; of the text, the last ones.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    lines: VecDeque<String>,
    count: u64,
    digest: u64,
}

impl Transcript {
    /// Adds a line, said at `millis` of the world's time.
    pub fn say(&mut self, millis: u64, text: &str) {
        let (seconds, milli) = (millis / 1000, millis % 1000);
        let line =
            format!("{:02}:{:02}:{:02}.{milli:03} {text}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        // FNV-1a: no secret, only a difference to notice.
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(1);
        }
        self.count += 1;
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// How many lines there were, and the digest of all of them.
    pub fn fingerprint(&self) -> (u64, u64) {
        (self.count, self.digest)
    }

    /// The lines that are kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).fold(String::new(), |text, line| text + line + "\n")
    }
}
