//! What the allocator is told.

/// Blocks of this size and more are given back to the system as soon as they are free. Left alone, the
/// allocator of glibc raises that bound to the size of what was freed, up to 32 MiB, and keeps what is
/// below it: after a few large requests the process would stay as large as they were.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;

/// Sets the allocator up. Must be called before the process has threads.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only stores a number in the allocator; no other thread is there that could be
    // using it. If it refuses, memory is given back later, no more.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}
