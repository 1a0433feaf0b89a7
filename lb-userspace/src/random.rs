//! Numbers that nobody can guess.

use std::{
    fs::File,
    io::{self, Read},
};

/// The kernel's.
pub const RANDOM: &str = "/dev/urandom";

/// So many random bytes.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes)
}
