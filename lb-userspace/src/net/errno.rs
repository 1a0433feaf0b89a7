//! An error number of the kernel as a value that can be kept, compared and shown.

use std::io;

/// An error number (errno(3)), as a system call or a netlink acknowledgement gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}", io::Error::from_raw_os_error(*.0))]
pub struct Errno(
    /// The positive number, for example 19 for ENODEV.
    pub i32,
);

impl Errno {
    /// The number of the last failed system call of this thread; 0 when it left none.
    pub fn last() -> Self {
        Self::from(&io::Error::last_os_error())
    }
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_text_of_the_system() {
        assert_eq!(Errno(libc::ENODEV).to_string(), "No such device (os error 19)");
        assert_eq!(Errno::from(&io::Error::from_raw_os_error(libc::EPERM)), Errno(libc::EPERM));
    }
}
