//! The name of a Service, made to be a key.

use std::{
    cmp::Ordering,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{MAX_NAME, NameError, check, is_dns, is_dns_or_dot};

/// Namespace and name of a Service. Both are safe as parts of a file name.
#[derive(Debug, Clone)]
pub struct ServiceKey {
    /// `NAMESPACE/NAME`: one piece of memory for both.
    text: Arc<str>,
    /// A hash of the text, and in the low byte where its `/` is. Made once: a table of keys grows, and unequal keys are
    /// told apart, without a look at the texts. It is no secret; `std`'s tables hash it once more under a key, so
    /// that names can't be chosen to meet in one place.
    tag: u64,
}

const _: () = assert!(MAX_NAME <= u8::MAX as usize, "the slash comes after a namespace of any length");

impl ServiceKey {
    /// The key, if both parts are DNS names; a namespace has no dots.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Result<Self, NameError> {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        check(namespace, MAX_NAME, is_dns)?;
        check(name, MAX_NAME, is_dns_or_dot)?;
        let text = format!("{namespace}/{name}");
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let slash = u8::try_from(namespace.len()).unwrap_or(u8::MAX);
        Ok(Self { text: text.into(), tag: hasher.finish() << 8 | u64::from(slash) })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name inside the namespace.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// `NAMESPACE/NAME`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parts(&self) -> (&str, &str) {
        let [.., slash] = self.tag.to_be_bytes();
        let (namespace, rest) = self.text.split_at_checked(slash.into()).unwrap_or_default();
        (namespace, rest.get(1..).unwrap_or_default())
    }
}

impl PartialEq for ServiceKey {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for ServiceKey {}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    /// By namespace, then by name; the text as a whole would put `a-b/x` before `a/x`.
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.text, &other.text) { Ordering::Equal } else { self.parts().cmp(&other.parts()) }
    }
}

impl Hash for ServiceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.tag);
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ServiceKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once('/').ok_or(NameError::NoNamespace)?;
        Self::new(namespace, name)
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
