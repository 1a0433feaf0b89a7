//! What datagrams are authenticated with.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::wire::TAG;

/// Shortest secret that keys are made of, in bytes.
pub const LEAST_SECRET: usize = 16;

/// Names what the key is for: from the same secret nothing else makes this one.
const INFO: &[u8] = b"barelb failover datagram v1 hmac-sha256-128";

/// The secret has too few bytes to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {0} bytes; at least {LEAST_SECRET} are needed")]
pub struct ShortSecret(pub usize);

/// A key, made of a secret.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key of a secret: HKDF-SHA-256 without a salt.
    pub fn new(secret: &[u8]) -> Result<Self, ShortSecret> {
        if secret.len() < LEAST_SECRET {
            return Err(ShortSecret(secret.len()));
        }
        let mut bytes = [0; 32];
        // Neither step fails for 32 bytes, and both say so by a result.
        Hkdf::<Sha256>::new(None, secret)
            .expand(INFO, &mut bytes)
            .map_err(|_too_long| ShortSecret(secret.len()))?;
        let mac = Hmac::new_from_slice(&bytes).map_err(|_length| ShortSecret(secret.len()))?;
        Ok(Self(mac))
    }

    fn tag(&self, bytes: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys of the cluster: two while the secret is changed.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// What is sent is sealed with it.
    pub current: Key,
    /// What is received may be sealed with it, too.
    pub previous: Option<Key>,
}

impl Keyring {
    pub(super) fn seal(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let tag = self.current.tag(&bytes).finalize().into_bytes();
        bytes.extend(tag.iter().take(TAG));
        bytes
    }

    /// Whether the tag at the end is one of these keys', compared in constant time.
    pub(super) fn authenticates(&self, bytes: &[u8]) -> bool {
        let Some((signed, tag)) = bytes.split_last_chunk::<TAG>() else { return false };
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| key.tag(signed).verify_truncated_left(tag).is_ok())
    }
}
