//! What is wrong, where, and what to write instead: the one shape in which every rejected piece of input
//! reaches the log, `barelb inspect` and the status file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    config::{ConfigError, LegacyError, PatternError},
    eligibility::InterfaceError,
    ids::{NameError, ServiceKey, VlanError},
    plan::Silence,
    pool::RangeError,
    request::AllocError,
    selector::SelectorError,
};

/// Where a value was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// File name, where the object comes from a file.
    pub file: Option<String>,
    /// Number of the YAML document in the file, from 1.
    pub document: Option<u32>,
    /// Kind, namespace and name, for example `IPAddressPool metallb-system/default`.
    pub object: String,
    /// Path of the field, for example `spec.addresses[0]`; empty for the object as a whole.
    pub field: String,
}

impl Place {
    /// A place that is the Service itself; the caller knows the file it came from.
    pub fn service(key: &ServiceKey) -> Self {
        Self { object: format!("Service {key}"), ..Self::default() }
    }

    /// The Service that it is, if it is one.
    pub fn service_key(&self) -> Option<ServiceKey> {
        self.object.strip_prefix("Service ")?.parse().ok()
    }

    /// Another field of the same object.
    #[must_use]
    pub fn field(&self, field: impl Into<String>) -> Self {
        Self { field: field.into(), ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = self.document.map(|n| format!("document {n}")).unwrap_or_default();
        let file = self.file.as_deref().unwrap_or_default();
        let parts = [file, &document, &self.object, &self.field];
        let mut written = false;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if written {
                f.write_str(", ")?;
            }
            f.write_str(part)?;
            written = true;
        }
        Ok(())
    }
}

/// Something that was refused or needs attention, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was read.
    pub place: Place,
    /// What is wrong with it.
    pub reason: Reason,
    /// What that means for the object.
    pub effect: Effect,
}

/// What an error in an object means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// The reason says all that is to be said.
    #[default]
    AsSaid,
    /// The object goes on as it was before the error.
    LastGood,
    /// The object was never without an error.
    LeftOut,
}

impl fmt::Display for Effect {
    /// The end of a message, with the semicolon that sets it apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsSaid => "",
            Self::LastGood => "; what it said before stays in force",
            Self::LeftOut => "; it has no effect until it is corrected",
        })
    }
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, reason: impl Into<Reason>) -> Self {
        Self { place, reason: reason.into(), effect: Effect::AsSaid }
    }

    /// Whether everything that was written still takes effect: a warning does not make a v0.9 document invalid.
    pub fn is_warning(&self) -> bool {
        self.reason.is_warning()
    }
}

impl Reason {
    /// See [`Problem::is_warning`].
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Config(error) => error.is_warning(),
            Self::Legacy(error) => error.is_warning(),
            Self::Range(_)
            | Self::Selector(_)
            | Self::Vlan(_)
            | Self::Pattern(_)
            | Self::Name(_)
            | Self::Alloc(_)
            | Self::Announce(_) => false,
            Self::Interface(error) => error.is_warning(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.place, self.reason, self.effect)
    }
}

/// Every reason a problem can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A pool or an advertisement.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A rule of the v0.9 `ConfigMap`.
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    /// An entry of a pool's address list.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A label selector.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The annotation `barelb.io/vlan`.
    #[error(transparent)]
    Vlan(#[from] VlanError),
    /// The annotation `barelb.io/interface-regex`.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A Service that gets no address, or not the one it asks for.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// A Service whose address is not announced.
    #[error(transparent)]
    Announce(#[from] Silence),
    /// An interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}
