//! A layer's bytes from the registry to the unpacker.

use std::io::{self, Read};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_RANGE;
use tokio::sync::mpsc;

use crate::digest::Digest;
use crate::error::{ImageError, PullError};
use crate::layer::{Expected, unpack_layer};
use crate::manifest::Descriptor;
use crate::progress::{Phase, Progress};
use crate::registry::client::{Failure, Window};
use crate::registry::{blocking, session::Session};
use crate::store::{ImageStore, Staged};

/// Stretches of data between the network and the unpacker: hyper's are at most 400 KiB, mostly 8-16.
const QUEUE_CHUNKS: usize = 64;
/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 256 << 10;

/// What the unpacker gets. An end without `End` is a download that failed or was given up.
enum Piece {
    Data(Bytes),
    End,
}

/// Downloads and unpacks one layer side by side.
pub(super) async fn layer(
    session: &Session<'_>,
    store: &ImageStore,
    descriptor: &Descriptor,
    expected: Expected,
    progress: &dyn Progress,
) -> Result<Staged, PullError> {
    let (sender, receiver) = mpsc::channel(QUEUE_CHUNKS);
    let unpacking = {
        let store = store.clone();
        let reader = Pieces { receiver, current: Bytes::new(), ended: false };
        blocking(move || unpack_layer(&store, reader, &expected))
    };
    let name = descriptor.digest.to_string();
    let report = |done| progress.layer(&name, done, Some(descriptor.size), Phase::Downloading);
    let listening = sender.clone();
    let downloading = async move {
        tokio::select! {
            result = download(session, descriptor.digest, descriptor.size, sender, &report) => result,
            // The unpacker failed: what a slow registry still has to say does not matter.
            () = listening.closed() => Ok(()),
        }
    };
    let (downloaded, unpacked) = tokio::join!(downloading, unpacking);
    match (downloaded, unpacked) {
        (Ok(()), Ok(staged)) => {
            progress.layer(&name, descriptor.size, Some(descriptor.size), Phase::Complete);
            Ok(staged)
        }
        // The unpacker's failure is the cause unless it only heard that the download failed.
        (Err(error), Err(PullError::Image(ImageError::Stream(heard)))) if is_given_up(&heard) => Err(error),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// Sends exactly the blob's bytes. A connection that breaks is taken up where it broke, as long as each try brings
/// something or tries are left.
async fn download(
    session: &Session<'_>,
    digest: Digest,
    size: u64,
    sender: mpsc::Sender<Piece>,
    report: &(dyn Fn(u64) + Sync),
) -> Result<(), PullError> {
    let mut done = 0u64;
    let mut attempt = 1;
    while done < size {
        let before = done;
        let error = match stretch(session, digest, size, &mut done, &sender, report).await? {
            None => break,
            Some(failure) => session.failed(failure),
        };
        // A large step forward starts the count anew; a few bytes a try do not.
        attempt = if done - before >= REPORT_BYTES { 2 } else { attempt + 1 };
        if attempt > session.client.limits().attempts || !error.is_transient() {
            return Err(error);
        }
        session.pause(attempt, &error, None).await;
    }
    // When nobody listens, the unpacker failed and says why itself.
    let _ = sender.send(Piece::End).await;
    Ok(())
}

/// One connection's worth of the blob from `done` on: `None` at the blob's end or when nobody listens any more.
async fn stretch(
    session: &Session<'_>,
    digest: Digest,
    size: u64,
    done: &mut u64,
    sender: &mpsc::Sender<Piece>,
    report: &(dyn Fn(u64) + Sync),
) -> Result<Option<Failure>, PullError> {
    let response = session.blob(digest, *done).await?;
    let mut skip = 0;
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range =
            response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !range.starts_with(&format!("bytes {}-", *done)) {
            return Err(session.failed(Failure::Protocol("another range than was asked for".to_owned())));
        }
    } else {
        // The server starts over; what came before is read again and dropped.
        skip = *done;
    }
    let mut body = response.into_body();
    let mut window = Window::new(session.client.limits());
    let mut reported = *done;
    loop {
        let mut data = match session.client.chunk(&mut body).await {
            Ok(Some(data)) => data,
            Ok(None) if *done == size => return Ok(None),
            Ok(None) => {
                return Ok(Some(Failure::Connection(format!("the layer ends after {done} of {size} bytes"))));
            }
            Err(failure) => return Ok(Some(failure)),
        };
        if let Err(failure) = window.add(data.len()) {
            return Ok(Some(failure));
        }
        let skipped = skip.min(data.len() as u64);
        skip -= skipped;
        let _ = data.split_to(skipped as usize);
        if data.is_empty() {
            continue;
        }
        *done += data.len() as u64;
        if *done > size {
            return Err(ImageError::SizeMismatch { what: "layer", expected: size, actual: *done }.into());
        }
        if *done - reported >= REPORT_BYTES {
            reported = *done;
            report(*done);
        }
        if sender.send(Piece::Data(data)).await.is_err() {
            return Ok(None);
        }
    }
}

/// The unpacker's end of the queue.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, GivenUp)),
            }
        }
        let count = buffer.len().min(self.current.len());
        let piece = self.current.split_to(count);
        if let Some(buffer) = buffer.get_mut(..count) {
            buffer.copy_from_slice(&piece);
        }
        Ok(count)
    }
}

/// The download failed or its future was dropped.
#[derive(Debug, thiserror::Error)]
#[error("the download was given up")]
struct GivenUp;

fn is_given_up(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<GivenUp>() {
            return true;
        }
        // An io::Error that wraps another gives its inner error's source only; look inside as well.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && is_inner(inner)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn is_inner(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<GivenUp>() || error.downcast_ref::<io::Error>().is_some_and(is_given_up)
}
