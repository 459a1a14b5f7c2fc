//! Calls that change one and the same thing take turns within a process.
//!
//! Of many at once one would succeed a commit and the others start over, until the last of them had no tries left. The
//! conditions of their transactions stay the truth: they hold against the loops, and against other processes.

use tokio::sync::{Mutex, MutexGuard};

/// Things that take turns apart. Ours: two that share one only wait for each other.
const TURNS: usize = 64;

static WAITING: [Mutex<()>; TURNS] = [const { Mutex::const_new(()) }; TURNS];

/// Waits for a turn with what the parts name.
pub async fn of(parts: &[&str]) -> MutexGuard<'static, ()> {
    // FNV-1a: the same in every run, as a simulation needs it.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let turn = usize::try_from(hash % TURNS as u64).unwrap_or_default();
    WAITING[turn].lock().await
}
