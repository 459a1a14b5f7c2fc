//! Finding the containers that an earlier engine left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use super::create::identity;
use crate::container::{Container, Conversation, bury};
use crate::engine::{Engine, Inner};
use crate::layout;
use crate::shim::protocol::{Event, Record};
use crate::shim::socket;
use crate::specification::{ContainerId, ContainerSpec};

/// A shim answers at once unless the machine is on its knees.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at every container directory: connects to the shims that live, reads the states of the others.
pub(crate) async fn adopt_all(engine: &Engine) {
    let containers = engine.inner.config.root.join(layout::CONTAINERS);
    let Ok(entries) = std::fs::read_dir(&containers) else { return };
    let ids =
        entries.flatten().filter_map(|entry| ContainerId::new(entry.file_name().into_string().ok()?).ok());
    for id in ids.collect::<Vec<_>>() {
        let container = adopt(&engine.inner, &id).await;
        if let Some(container) = container {
            engine.inner.containers().insert(id, container);
        }
    }
}

async fn adopt(engine: &Arc<Inner>, id: &ContainerId) -> Option<Arc<Container>> {
    let directory = engine.container_directory(id);
    let spec: ContainerSpec = match layout::read_json(&directory.join(layout::SPEC)) {
        Ok(spec) => spec,
        Err(error) => {
            // The engine died in the middle of its first step: no shim has been started, nothing else was made.
            tracing::warn!(container = %id, %error, "a container without parameters is removed");
            let _ = std::fs::remove_dir_all(&directory);
            return None;
        }
    };
    let identity = identity(engine, &spec, &directory);
    if let Some((record, conversation)) = greet(&directory).await {
        tracing::info!(container = %id, pid = record.pid, "adopted");
        return Some(Container::attach(identity, record, conversation));
    }
    let record: Option<Record> = layout::read_json(&directory.join(layout::STATE)).ok();
    let ended = record.as_ref().is_some_and(|record| record.exit.is_some());
    let container = Container::without_shim(identity, record);
    if !ended {
        // Its shim is dead: killed, or the machine was restarted.
        bury(&container).await;
    }
    Some(container)
}

/// Connects to a shim and hears its greeting.
async fn greet(directory: &Path) -> Option<(Record, Conversation)> {
    let stream = socket::connect(directory, layout::SOCKET).ok()?;
    stream.set_nonblocking(true).ok()?;
    let mut conversation = Conversation::new(UnixStream::from_std(stream).ok()?);
    match tokio::time::timeout(GREETING_TIMEOUT, conversation.next()).await {
        Ok(Ok(Some(Event::Hello(record)))) => Some((record, conversation)),
        _ => None,
    }
}
