//! What process lists show of ours inside a container: a name, and nothing of the host's.
#![allow(unsafe_code)]

use std::fs;

/// What they show.
const NAME: &str = "init";
/// Places of `arg_start` and `arg_end` behind the parenthesis that ends the name in /proc/self/stat (proc_pid_stat(5): fields
/// 48 and 49; the name is field 2).
const ARGUMENTS_START: usize = 48 - 3;
/// The kernel's bound on a program's arguments is far above.
const ARGUMENTS_BYTES_MAXIMUM: usize = 1 << 20;

/// Replaces this process's name and arguments, which hold paths of the host. Needs /proc; without it only the name changes.
pub fn conceal() {
    let mut name = [0_u8; 16];
    name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    // SAFETY: a string of at most 16 bytes with its end.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    let Some((start, length)) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| arguments(&stat))
    else {
        return;
    };
    // SAFETY: the kernel has just named this range as the one that holds this process's argument strings; it is writable, there
    // is one thread, and every string in it is still ended by a zero afterwards.
    unsafe {
        std::ptr::write_bytes(start, 0, length);
        std::ptr::copy_nonoverlapping(NAME.as_ptr(), start, NAME.len().min(length - 1));
    }
}

/// Where the argument strings lie, and their length in bytes.
fn arguments(stat: &str) -> Option<(*mut u8, usize)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(ARGUMENTS_START);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let length = end.checked_sub(start)?;
    let plausible = start != 0 && (1..=ARGUMENTS_BYTES_MAXIMUM).contains(&length);
    plausible.then(|| (std::ptr::with_exposed_provenance_mut(start), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_where_the_kernel_says() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (start, length) = arguments(&stat).unwrap();
        // SAFETY: as in `conceal`, and only read.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast_const(), length) };
        assert_eq!(bytes, fs::read("/proc/self/cmdline").unwrap());
        assert_eq!(arguments("1 (a) b) S 0"), None);
        assert_eq!(arguments(""), None);
    }
}
