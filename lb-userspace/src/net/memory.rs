//! Memory of this process that is free but not given back.

/// Gives free memory back to the kernel, also what lies between pieces in use. After something large was dropped;
/// takes some milliseconds. The C library keeps freed memory otherwise, in as many pools as there were threads.
pub fn give_back() {
    // glibc only: other C libraries give back by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
