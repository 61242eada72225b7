//! The memory that a deployment needed goes back to the host when the work is done.

/// Gives back what lies free between things that are in use: by itself the C library returns only what is free at the heap's end.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "malloc_trim(3) may be called at any time from any thread, and takes no pointer")]
    // SAFETY: see the reason above; it touches only memory that is not in use.
    let gave_some = unsafe { nix::libc::malloc_trim(0) };
    tracing::trace!(gave_some, "memory goes back");
}

/// Other C libraries have no such call.
#[cfg(not(target_env = "gnu"))]
pub(crate) const fn give_back() {}
