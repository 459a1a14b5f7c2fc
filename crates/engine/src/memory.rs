//! The memory of this process.
#![allow(unsafe_code)]

/// Gives the system back what was freed and lies between pieces in use: after something that took much for a moment, such as
/// reading a store. The allocator alone only gives back the end of its heap. Source: malloc_trim(3).
pub fn give_back() {
    // SAFETY: it takes no pointer, may be called by any thread at any time, and touches free memory only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
