//! The version of the C library that compiled packages need and that the host has.

/// Major and minor.
pub(crate) type Version = (u32, u32);

/// Reads `glibc-2.36`; `None` for other libraries.
pub(crate) fn parse(text: &str) -> Option<Version> {
    let (major, minor) = text.strip_prefix("glibc-")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// The host's: that of the library which the agent itself runs with.
#[cfg(target_env = "gnu")]
pub(crate) fn of_host() -> Option<Version> {
    #[expect(unsafe_code, reason = "gnu_get_libc_version(3) takes nothing and returns a static, NUL-terminated string")]
    // SAFETY: see the reason above; the string is never freed nor changed.
    let text = unsafe { std::ffi::CStr::from_ptr(nix::libc::gnu_get_libc_version()) };
    parse(&format!("glibc-{}", text.to_str().ok()?))
}

/// An agent without glibc cannot tell the host's.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn of_host() -> Option<Version> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse("glibc-2.9") < parse("glibc-2.36"));
        assert_eq!((parse("musl-1.2"), parse("glibc-x"), parse("glibc-2.36.1")), (None, None, Some((2, 36))));
        assert!(of_host() > parse("glibc-2.17"));
    }
}
