//! The `json-file` driver: the shim writes Docker's line format itself, with rotation.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{OptionError, Stream, WRITE_BUFFER_BYTES, parse_size};

const DRIVER: &str = "json-file";
/// Rotated files at most. Ours: each is a rename at every rotation.
const FILES_MAXIMUM: u32 = 1000;

/// The options of the `json-file` driver. Source: "JSON File logging driver", Docker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFileOptions {
    /// Bytes after which the file is rotated; `None`: never. Option `max-size`.
    pub max_size_bytes: Option<u64>,
    /// Files kept, the current one included. Option `max-file`.
    pub max_files: u32,
    /// Whether rotated files are gzip'ed. Option `compress`.
    pub compress: bool,
    /// Written with every line as `attrs`; what `labels`, `env` and `tag` select. Filled in by the agent, which knows them.
    pub attributes: BTreeMap<String, String>,
}

impl Default for JsonFileOptions {
    fn default() -> Self {
        Self { max_size_bytes: None, max_files: 1, compress: false, attributes: BTreeMap::new() }
    }
}

impl JsonFileOptions {
    /// Reads a task definition's options. `labels`, `labels-regex`, `env`, `env-regex` and `tag` are known here but their
    /// effect, [`JsonFileOptions::attributes`], is left to the caller. `mode` and `max-buffer-size` are checked and change
    /// nothing: lines go straight to the kernel, where nothing blocks or is dropped.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let mut parsed = Self::default();
        for (option, value) in options {
            match option.as_str() {
                "max-size" if value == "-1" => {}
                "max-size" => match parse_size(option, value)? {
                    0 => return Err(OptionError::invalid(option, "max-size must be a positive number")),
                    bytes => parsed.max_size_bytes = Some(bytes),
                },
                "max-file" => match value.parse::<u32>() {
                    Ok(0) => return Err(OptionError::invalid(option, "max-file cannot be less than 1")),
                    Ok(files) if files <= FILES_MAXIMUM => parsed.max_files = files,
                    _ => return Err(OptionError::invalid(option, format!("invalid value '{value}'"))),
                },
                "compress" => parsed.compress = parse_bool(option, value)?,
                "mode" => check_mode(value)?,
                "max-buffer-size" => {
                    parse_size(option, value)?;
                }
                "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {}
                _ => return Err(OptionError::Unknown { option: option.clone(), driver: DRIVER }),
            }
        }
        if parsed.compress && (parsed.max_files < 2 || parsed.max_size_bytes.is_none()) {
            let reason = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(OptionError::invalid("compress", reason));
        }
        Ok(parsed)
    }
}

fn check_mode(value: &str) -> Result<(), OptionError> {
    match value {
        "blocking" | "non-blocking" => Ok(()),
        _ => Err(OptionError::invalid("mode", format!("logger: invalid log mode '{value}'"))),
    }
}

/// A truth value in the forms that Go's `strconv.ParseBool` takes, which Docker's options go through.
fn parse_bool(option: &str, value: &str) -> Result<bool, OptionError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OptionError::invalid(option, format!("'{value}' is neither true nor false"))),
    }
}

/// Writes lines in Docker's `json-file` format and rotates the file. Dropping it flushes.
#[derive(Debug)]
pub struct JsonFileWriter {
    path: PathBuf,
    options: JsonFileOptions,
    /// `,"attrs":{…}`, or nothing.
    attributes: String,
    file: File,
    file_bytes: u64,
    buffer: Vec<u8>,
    compressing: Option<JoinHandle<()>>,
}

impl JsonFileWriter {
    /// Opens the file at `path`, behind what it holds.
    pub fn open(path: &Path, options: JsonFileOptions) -> io::Result<Self> {
        let attributes = if options.attributes.is_empty() {
            String::new()
        } else {
            format!(",\"attrs\":{}", serde_json::to_string(&options.attributes)?)
        };
        let file = open_file(path, false)?;
        let file_bytes = file.metadata()?.len();
        let path = path.to_owned();
        Ok(Self { path, options, attributes, file, file_bytes, buffer: Vec::new(), compressing: None })
    }

    /// Writes a line, or a piece of one if `partial`: a piece has no newline behind it. Bytes that are no UTF-8 become
    /// U+FFFD, as with Docker.
    pub fn write(
        &mut self,
        stream: Stream,
        partial: bool,
        unix_nanoseconds: i64,
        bytes: &[u8],
    ) -> io::Result<()> {
        if self
            .options
            .max_size_bytes
            .is_some_and(|limit| self.file_bytes + self.buffer.len() as u64 >= limit)
        {
            self.flush()?;
            self.rotate()?;
        }
        let mut line = String::from_utf8_lossy(bytes).into_owned();
        if !partial {
            line.push('\n');
        }
        self.buffer.extend_from_slice(b"{\"log\":");
        serde_json::to_writer(&mut self.buffer, &line)?;
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let time = rfc_3339_nanoseconds(unix_nanoseconds);
        writeln!(self.buffer, ",\"stream\":\"{stream}\"{},\"time\":\"{time}\"}}", self.attributes)?;
        if self.buffer.len() >= WRITE_BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands what is buffered to the kernel. An error has lost it: the buffer is empty afterwards either way.
    pub fn flush(&mut self) -> io::Result<()> {
        let outcome = self.file.write_all(&self.buffer);
        self.file_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        outcome
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.finish_compressing();
        if self.options.max_files > 1 {
            for index in (1..self.options.max_files).rev() {
                // The oldest falls off the end; those that are not there yet are no error.
                let older = index + 1;
                for suffix in ["", ".gz"] {
                    let from = self.numbered(index, suffix);
                    if older > self.options.max_files - 1 {
                        ignore_missing(fs::remove_file(from))?;
                    } else {
                        ignore_missing(fs::rename(from, self.numbered(older, suffix)))?;
                    }
                }
            }
            fs::rename(&self.path, self.numbered(1, ""))?;
        }
        self.file = open_file(&self.path, true)?;
        self.file_bytes = 0;
        if self.options.compress {
            let (plain, compressed) = (self.numbered(1, ""), self.numbered(1, ".gz"));
            let work = move || {
                // The plain file stays where this fails (a full disk); it is as readable.
                if compress(&plain, &compressed).is_err() {
                    let _ = fs::remove_file(&compressed);
                }
            };
            self.compressing = Some(Builder::new().spawn(work)?);
        }
        Ok(())
    }

    fn numbered(&self, index: u32, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{index}{suffix}"));
        name.into()
    }

    fn finish_compressing(&mut self) {
        if let Some(handle) = self.compressing.take() {
            let _ = handle.join();
        }
    }
}

impl Drop for JsonFileWriter {
    fn drop(&mut self) {
        let _ = self.flush();
        self.finish_compressing();
    }
}

fn open_file(path: &Path, empty: bool) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    if empty {
        file.set_len(0)?;
    }
    Ok(file)
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn compress(plain: &Path, compressed: &Path) -> io::Result<()> {
    let mut from = File::open(plain)?;
    let mut encoder =
        flate2::write::GzEncoder::new(open_file(compressed, true)?, flate2::Compression::fast());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?.flush()?;
    fs::remove_file(plain)
}

/// RFC 3339 in UTC with nanoseconds, trailing zeros left out, as Go's `RFC3339Nano` writes it.
fn rfc_3339_nanoseconds(unix_nanoseconds: i64) -> String {
    let seconds = unix_nanoseconds.div_euclid(1_000_000_000);
    let nanoseconds = unix_nanoseconds.rem_euclid(1_000_000_000);
    let with_milliseconds = Timestamp::from_millis(seconds * 1000).to_string();
    let to_seconds = with_milliseconds.split('.').next().unwrap_or_default();
    let fraction = format!(".{nanoseconds:09}");
    format!("{to_seconds}{}Z", fraction.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<JsonFileOptions, OptionError> {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        JsonFileOptions::parse(&map)
    }

    #[test]
    fn options_are_read_and_odd_ones_refused_by_name() {
        let parsed = options(&[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]).unwrap();
        assert_eq!((parsed.max_size_bytes, parsed.max_files, parsed.compress), (Some(10 << 20), 3, true));
        for (pairs, word) in [
            (&[("max-size", "x")][..], "max-size"),
            (&[("max-size", "0")], "max-size"),
            (&[("max-file", "0")], "max-file"),
            (&[("compress", "true")], "compress"),
            (&[("compress", "yes")], "compress"),
            (&[("mode", "often")], "mode"),
            (&[("max-sizes", "1m")], "max-sizes"),
            (&[("awslogs-group", "g")], "awslogs-group"),
        ] {
            let error = options(pairs).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn lines_have_dockers_form() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x-json.log");
        let mut options = JsonFileOptions::default();
        options.attributes.insert("tag".into(), "web".into());
        let mut writer = JsonFileWriter::open(&path, options).unwrap();
        writer.write(Stream::Stdout, false, 1_000_000_000, b"a \"quoted\" \x1b[31m line").unwrap();
        writer.write(Stream::Stderr, true, 1_500_000_001, b"half \xff").unwrap();
        drop(writer);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"log":"a \"quoted\" \u001b[31m line\n","stream":"stdout","attrs":{"tag":"web"},"time":"1970-01-01T00:00:01Z"}"#,
                "\n",
                "{\"log\":\"half \u{fffd}\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"web\"},\"time\":\"1970-01-01T00:00:01.500000001Z\"}\n",
            )
        );
    }

    #[test]
    fn files_rotate_compress_and_fall_off_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let options = options(&[("max-size", "1k"), ("max-file", "3"), ("compress", "true")]).unwrap();
        let mut writer = JsonFileWriter::open(&path, options).unwrap();
        for index in 0..100 {
            writer.write(Stream::Stdout, false, index, format!("line {index:04}").as_bytes()).unwrap();
        }
        drop(writer);
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1.gz", "log.2.gz"]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(directory.path().join("log.1.gz")).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let newest = fs::read_to_string(&path).unwrap();
        assert!(newest.contains("line 0099") && !text.contains("line 0099"));
        let last_rotated = text.lines().last().unwrap()[13..17].parse::<u32>().unwrap();
        let first_new = newest.lines().next().unwrap()[13..17].parse::<u32>().unwrap();
        assert_eq!(last_rotated + 1, first_new);
        assert!(text.len() < 1200, "{}", text.len());
    }

    #[test]
    fn one_file_alone_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = JsonFileWriter::open(&path, options(&[("max-size", "500")]).unwrap()).unwrap();
        for _ in 0..50 {
            writer.write(Stream::Stdout, false, 0, b"0123456789").unwrap();
        }
        drop(writer);
        assert!(fs::metadata(&path).unwrap().len() < 600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
