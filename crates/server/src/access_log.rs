//! Access logs of load balancers. There is no S3 here: a bucket is a directory below `access-logs/` of the data directory,
//! with the keys and lines that AWS writes ("Access logs for your Application Load Balancer", file names and syntax).
//!
//! Differs from AWS: files are not compressed and can be read while they are written; all files together have a bound,
//! beyond which the oldest go.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use balancer::{AccessLog, AccessLogEntry};
use base::{Arn, Ids, Timestamp};

/// Entries that may wait for the disk; further ones are lost, as AWS warns ("best-effort basis").
const QUEUE: usize = 8192;
/// A new file is begun as often as AWS publishes one.
const FILE_SECONDS: i64 = 300;
/// How long a line may wait in memory.
const FLUSH: Duration = Duration::from_secs(1);
/// Bytes of all files together.
const BYTES_MAXIMUM: u64 = 1024 * 1024 * 1024;
/// Bytes of a text that a client chose, such as its user agent.
const TEXT_BYTES: usize = 4096;

/// Writes entries on a thread of its own.
pub struct AccessLogFiles {
    queue: SyncSender<AccessLogEntry>,
    lost: AtomicU64,
}

impl AccessLogFiles {
    /// Writes below `root`, which is made when the first entry comes. The thread ends with this.
    pub fn start(root: PathBuf, ids: Arc<dyn Ids>) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let files = Files { root, ids, open: BTreeMap::new(), slot: 0 };
        std::thread::Builder::new().name("access-logs".to_owned()).spawn(move || files.follow(&entries))?;
        Ok(Self { queue, lost: AtomicU64::new(0) })
    }
}

impl AccessLog for AccessLogFiles {
    fn write(&self, entry: AccessLogEntry) {
        if self.queue.try_send(entry).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            // Once in a while: a disk that cannot keep up has enough to do.
            if lost.is_power_of_two() {
                tracing::warn!(lost, "access log entries are lost: the disk does not keep up");
            }
        }
    }
}

struct Files {
    root: PathBuf,
    ids: Arc<dyn Ids>,
    /// By directory and load balancer, all of one slot of time.
    open: BTreeMap<(Arc<str>, Arc<str>), BufWriter<File>>,
    slot: i64,
}

impl Files {
    fn follow(mut self, entries: &Receiver<AccessLogEntry>) {
        loop {
            match entries.recv_timeout(FLUSH) {
                Ok(entry) => {
                    if let Err(error) = self.take(&entry) {
                        tracing::warn!(%error, "an access log entry cannot be written");
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
            }
        }
    }

    fn flush(&mut self) {
        for file in self.open.values_mut() {
            if let Err(error) = file.flush() {
                tracing::warn!(%error, "access log entries cannot be written");
            }
        }
    }

    fn take(&mut self, entry: &AccessLogEntry) -> io::Result<()> {
        let slot = entry.began.as_seconds().div_euclid(FILE_SECONDS);
        if slot > self.slot {
            self.flush();
            self.open.clear();
            self.slot = slot;
        }
        let key = (Arc::clone(&entry.place), Arc::clone(&entry.load_balancer));
        if !self.open.contains_key(&key) {
            let file = self.begin(entry)?;
            self.open.insert(key.clone(), BufWriter::new(file));
        }
        match self.open.get_mut(&key) {
            Some(file) => file.write_all(line(entry).as_bytes()),
            None => Ok(()),
        }
    }

    fn begin(&self, entry: &AccessLogEntry) -> io::Result<File> {
        make_room(&self.root, BYTES_MAXIMUM)?;
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, "the bucket's name or prefix is none");
        let end = Timestamp::from_millis((self.slot + 1) * FILE_SECONDS * 1000);
        let path = path(&self.root, entry, end, &self.ids.hex(8)).ok_or_else(refused)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        File::options().create(true).append(true).open(path)
    }
}

/// `BUCKET/PREFIX/AWSLogs/ACCOUNT/elasticloadbalancing/REGION/YYYY/MM/DD/ACCOUNT_elasticloadbalancing_REGION_LB_END_IP_RANDOM.log`;
/// `None` where it would lead elsewhere.
fn path(root: &Path, entry: &AccessLogEntry, end: Timestamp, random: &str) -> Option<PathBuf> {
    let mut parts = entry.place.split('/').filter(|part| !part.is_empty());
    let is_plain = |part: &str| {
        part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!_.*'()-".contains(&byte))
    };
    let mut directory = root.join(parts.next().filter(|bucket| is_plain(bucket))?);
    for part in parts {
        directory.push(Some(part).filter(|part| is_plain(part))?);
    }
    let arn: Arn = entry.load_balancer.parse().ok()?;
    let scope = arn.scope()?;
    let load_balancer = arn.resource().strip_prefix("loadbalancer/")?.replace('/', ".");
    let Time { year, month, day, hour, minute, .. } = Time::of(end);
    directory.push(format!(
        "AWSLogs/{}/elasticloadbalancing/{}/{year:04}/{month:02}/{day:02}",
        scope.account, scope.region
    ));
    let name = format!(
        "{}_elasticloadbalancing_{}_{load_balancer}_{year:04}{month:02}{day:02}T{hour:02}{minute:02}Z_{}_{random}.log",
        scope.account, scope.region, entry.node
    );
    Some(directory.join(name))
}

/// Removes the oldest files until all together are within the bound.
fn make_room(root: &Path, maximum: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                directories.push(entry.path());
            } else if about.is_file() {
                files.push((about.modified()?, about.len(), entry.path()));
            }
        }
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in files {
        if bytes <= maximum {
            break;
        }
        fs::remove_file(path)?;
        bytes -= length;
    }
    Ok(())
}

/// One line, field by field in AWS's order.
fn line(entry: &AccessLogEntry) -> String {
    let seconds = |time: Option<Duration>| {
        time.map_or_else(|| "-1".to_owned(), |time| format!("{:.3}", time.as_secs_f64()))
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let arn: Option<Arn> = entry.load_balancer.parse().ok();
    let name = arn.as_ref().and_then(|arn| arn.resource().strip_prefix("loadbalancer/")).unwrap_or("-");
    let target = or_dash(entry.target.map(|target| target.to_string()));
    let target_status = or_dash(entry.target_status.map(|status| status.to_string()));
    let processing = entry.target.map(|_| entry.request_processing);
    let (suite, version) = match &entry.tls {
        Some((version, suite)) => (suite.as_str(), *version),
        None => ("-", "-"),
    };
    let action = entry.action.unwrap_or("-");
    let priority = entry.priority.map_or_else(|| "-1".to_owned(), |priority| priority.to_string());
    let (class, reason) =
        if entry.is_ambiguous { ("Ambiguous", "UndefinedContentLengthSemantics") } else { ("-", "-") };
    let mut line = String::with_capacity(512);
    let _ = writeln!(
        line,
        "{} {} {name} {} {target} {} {} {} {} {target_status} {} {} \"{}\" \"{}\" {suite} {version} {} \"{}\" \"{}\" \"-\" \
         {priority} {} \"{action}\" \"{}\" \"-\" \"{target}\" \"{target_status}\" \"{class}\" \"{reason}\" -",
        entry.kind,
        Time::of(entry.began.plus_millis(elapsed_millis(entry))),
        entry.client,
        seconds(processing),
        seconds(entry.target_processing),
        seconds(entry.response_processing),
        entry.status,
        entry.received_bytes,
        entry.sent_bytes,
        quoted(&entry.request),
        quoted(&entry.user_agent),
        entry.target_group.as_deref().unwrap_or("-"),
        quoted(&entry.trace),
        quoted(entry.server_name.as_deref().unwrap_or("-")),
        Time::of(entry.began),
        quoted(entry.redirect.as_deref().unwrap_or("-")),
    );
    line
}

fn elapsed_millis(entry: &AccessLogEntry) -> i64 {
    let parts = [Some(entry.request_processing), entry.target_processing, entry.response_processing];
    let all: Duration = parts.into_iter().flatten().sum();
    i64::try_from(all.as_millis()).unwrap_or_default()
}

/// What a client chose, so that it stays within its quotes and its line. AWS: `\"` and `\xNN`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if quoted.len() >= TEXT_BYTES {
            break;
        }
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            other => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(quoted, "\\x{byte:02x}");
                }
            }
        }
    }
    quoted
}

/// A moment as a civil date, in UTC.
struct Time {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
}

impl Time {
    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    fn of(at: Timestamp) -> Self {
        let seconds = at.as_millis().div_euclid(1000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            microsecond: at.as_millis().rem_euclid(1000) * 1000,
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, hour, minute, second, microsecond } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microsecond:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use base::RandomIds;

    use super::*;

    fn entry(place: &str) -> AccessLogEntry {
        AccessLogEntry {
            place: place.into(),
            load_balancer:
                "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/front/0123456789abcdef"
                    .into(),
            node: "172.31.0.9".parse().unwrap(),
            began: Timestamp::from_millis(1_709_164_799_123),
            kind: "http",
            client: "203.0.113.9:4711".parse().unwrap(),
            target: Some("172.31.0.50:80".parse().unwrap()),
            request_processing: Duration::from_millis(1),
            target_processing: Some(Duration::from_millis(2)),
            response_processing: Some(Duration::ZERO),
            status: 200,
            target_status: Some(200),
            received_bytes: 3,
            sent_bytes: 5,
            request: "GET http://a:80/x\" HTTP/1.1".to_owned(),
            user_agent: "curl\n\u{1b}[31m".to_owned(),
            tls: None,
            server_name: None,
            target_group: Some("arn:group".into()),
            trace: "Root=1-a-b".to_owned(),
            priority: Some(0),
            action: Some("forward"),
            redirect: None,
            is_ambiguous: false,
        }
    }

    #[test]
    fn a_line_has_the_documented_fields_and_stays_a_line() {
        assert_eq!(
            line(&entry("b/")),
            "http 2024-02-28T23:59:59.126000Z app/front/0123456789abcdef 203.0.113.9:4711 172.31.0.50:80 0.001 0.002 \
             0.000 200 200 3 5 \"GET http://a:80/x\\\" HTTP/1.1\" \"curl\\x0a\\x1b[31m\" - - arn:group \"Root=1-a-b\" \
             \"-\" \"-\" 0 2024-02-28T23:59:59.123000Z \"forward\" \"-\" \"-\" \"172.31.0.50:80\" \"200\" \"-\" \"-\" -\n"
        );
    }

    #[test]
    fn entries_go_to_their_bucket_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("access-logs");
        let log = AccessLogFiles::start(root.clone(), Arc::new(RandomIds)).unwrap();
        for place in ["my-bucket/front", "../outside/", "b/../../outside", "/", "a b/"] {
            log.write(entry(place));
        }
        // Its thread ends when all is written.
        let AccessLogFiles { queue, .. } = log;
        drop(queue);
        let expected =
            root.join("my-bucket/front/AWSLogs/000000000000/elasticloadbalancing/us-east-1/2024/02/29");
        let start = std::time::Instant::now();
        let file = loop {
            let found = fs::read_dir(&expected).ok().and_then(|mut entries| entries.next()?.ok());
            if let Some(file) = found.filter(|file| file.metadata().is_ok_and(|about| about.len() > 0)) {
                break file;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "nothing was written");
            std::thread::sleep(Duration::from_millis(5));
        };
        let name = file.file_name().into_string().unwrap();
        let start = "000000000000_elasticloadbalancing_us-east-1_app.front.0123456789abcdef_20240229T0000Z_172.31.0.9_";
        assert!(name.starts_with(start) && file.path().extension().is_some_and(|end| end == "log"), "{name}");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), line(&entry("b/")));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_oldest_files_make_room() {
        let directory = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 30), ("new", 10)] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_len(100).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        make_room(directory.path(), 150).unwrap();
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
