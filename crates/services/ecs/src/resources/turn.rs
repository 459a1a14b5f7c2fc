//! Calls that change one and the same thing take turns within a process, for each store apart.
//!
//! Of many at once one would succeed a commit and the others start over, until the last of them had no tries left. The
//! conditions of their transactions stay the truth: they hold against the loops, and against other processes.

use std::sync::Arc;

use store::Store;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Things that take turns apart. Ours: two that share one only wait for each other.
const TURNS: usize = 64;

struct Waiting([Arc<Mutex<()>>; TURNS]);

impl Default for Waiting {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

/// Waits for a turn with what the parts name.
pub async fn of(store: &Store, parts: &[&str]) -> OwnedMutexGuard<()> {
    // FNV-1a: the same in every run, as a simulation needs it.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let turn = usize::try_from(hash % TURNS as u64).unwrap_or_default();
    Arc::clone(&store.beside::<Waiting>().0[turn]).lock_owned().await
}
