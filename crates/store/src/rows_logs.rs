//! Where log groups and streams live.

use base::Scope;
use domain::{LogGroup, LogStream};

use crate::key::number_part;
use crate::{Key, Options, Prefix, Row, Table};

impl Row for LogGroup {
    const TABLE: Table = Table::new("log_groups");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        log_group_key(&self.scope, &self.name)
    }
}

/// The key of a log group.
pub fn log_group_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for LogStream {
    const TABLE: Table = Table::new("log_streams");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        log_stream_key(&self.scope, self.group_id, &self.name)
    }
}

/// The key of a log stream.
pub fn log_stream_key(scope: &Scope, group_id: u64, name: &str) -> Key {
    Key::new(scope, &[&number_part(group_id), name])
}

/// The streams of a group whose names start with `start`.
pub fn log_streams_starting(scope: &Scope, group_id: u64, start: &str) -> Prefix {
    Prefix::starting(scope, &[&number_part(group_id)], start)
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options.row::<LogGroup>().row::<LogStream>()
}
