//! What the allocator is told.

/// Blocks of this size and more are given back to the system as soon as they are free. Left alone, the
/// allocator of glibc raises that bound to the size of what was freed, up to 32 MiB, and keeps what is
/// below it: after a few large requests the process would stay as large as they were.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;

/// What a thread keeps of its heap although it is free. The allocator's default is 128 KiB, less than one slice of
/// 512 spans takes: its memory would go back after every slice, and writing the next would cost as much again for the
/// system to hand it out anew.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 2 * LARGE_BYTES;

/// Sets the allocator up. Must be called before the process has threads.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only stores a number in the allocator; no other thread is there that could be
    // using it. If it refuses, memory is given back later or sooner, no more.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
