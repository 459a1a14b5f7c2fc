//! What is let through of a connection, and the verdicts on its requests, do not depend on how its bytes were cut into packets.
#![no_main]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use balancer::application::desync::{Inspected, Verdict, Verdicts};
use balancer::configuration::DesyncMitigationMode;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};

/// Gives so many bytes at a time, then the end.
struct Packets<'a>(&'a [u8], usize);

impl AsyncRead for Packets<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.0.len().min(self.1).min(buffer.remaining());
        let (now, later) = self.0.split_at(count);
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// All that is let through, and the verdicts. Requests for another protocol are all turned down.
fn read(bytes: &[u8], size: usize, mode: DesyncMitigationMode) -> (Vec<u8>, Vec<Verdict>) {
    let verdicts = Arc::<Verdicts>::default();
    let packets = Packets(bytes, size);
    let mut inspected = Inspected::new(packets, mode, Duration::from_secs(60), Arc::clone(&verdicts));
    let mut context = Context::from_waker(Waker::noop());
    let (mut out, mut room) = (Vec::new(), [0; 1024]);
    // Every round gives a byte, or decides.
    for _ in 0..=2 * bytes.len() + 2_000 {
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut inspected).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                return (out, std::iter::from_fn(|| verdicts.waiting()).collect());
            }
            Poll::Ready(Ok(())) => out.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(_)) => return (out, std::iter::from_fn(|| verdicts.waiting()).collect()),
            Poll::Pending => verdicts.decide_upgrade(false),
        }
    }
    panic!("it does not come to an end");
}

fuzz_target!(|input: (&[u8], u8, u8)| {
    let (bytes, size, mode) = input;
    let mode = [DesyncMitigationMode::Monitor, DesyncMitigationMode::Defensive, DesyncMitigationMode::Strictest]
        [usize::from(mode) % 3];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let whole = read(bytes, usize::MAX, mode);
    let cut = read(bytes, usize::from(size).max(1), mode);
    assert_eq!(whole, cut);
});
