//! What is wrong with a manifest, and where: lb-core's problems, and those of files and documents.

use std::{fmt, io};

use lb_core::{
    ids::NodeName,
    problem::{Effect, Place},
};

use crate::k8s::convert::{ConvertError, FieldError};

/// Something that was refused or needs attention, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was read.
    pub place: Place,
    /// What is wrong.
    pub reason: Reason,
    /// What that means for the object.
    pub effect: Effect,
}

/// Every reason a problem can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// What an object says.
    #[error(transparent)]
    Core(#[from] lb_core::problem::Reason),
    /// A file or a document.
    #[error(transparent)]
    File(#[from] FileError),
    /// The form of an object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A value that the Kubernetes API would refuse.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// Why a file, a document or the directory can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The directory.
    #[error("the directory can't be read ({0}): what was read before stays in force")]
    Directory(io::ErrorKind),
    /// The file.
    #[error("the file can't be read ({0}): check its owner and mode")]
    Unreadable(io::ErrorKind),
    /// A device, a pipe or a socket.
    #[error("this is no regular file: only regular files and symlinks to them are read")]
    NotRegular,
    /// Above the limit.
    #[error("the file has {bytes} bytes, the limit is {limit}: split it")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes that are no text.
    #[error("the file is not UTF-8 text: the byte at offset {offset} does not fit")]
    NotUtf8 {
        /// Offset of the first bad byte, from 0.
        offset: usize,
    },
    /// More documents than are read; the others are left out.
    #[error("the file has more than {limit} documents: split it")]
    TooManyDocuments {
        /// The limit.
        limit: u32,
    },
    /// A file that had objects has no bytes: most likely it is just being written.
    #[error("the file is empty: what it defined stays in force, delete the file to remove it")]
    Emptied,
    /// The text is no YAML.
    #[error("{message}")]
    Syntax {
        /// The parser's words, with line and column in the file.
        message: String,
        /// Line in the file, from 1; `None` if the parser names none.
        line: Option<u64>,
        /// Column, from 1.
        column: Option<u64>,
    },
    /// Something in the status directory that is no status of ours.
    #[error("this is not a status written by barelb: it is ignored")]
    NotAStatus,
    /// Something in the memory of the agent that this version did not write.
    #[error("this is not a memory written by this version of barelb: it is ignored")]
    NotAMemory,
    /// A file of ours can't be written.
    #[error("the file can't be written ({0}): check owner, mode and free space of its directory")]
    Unwritable(io::ErrorKind),
}

/// What is wrong with the form of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The document is a list, a text or a number.
    #[error("expected an object with apiVersion and kind")]
    NotAnObject,
    /// A required field is missing.
    #[error("the field is missing")]
    Missing,
    /// A kind that is not used.
    #[error("{api_version} {kind} is not used here: the object is ignored")]
    IgnoredKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A value of the wrong type, in the words of the deserialiser.
    #[error("{message}")]
    Type {
        /// For example `invalid type: integer 42, expected a string`.
        message: String,
    },
    /// A field that the kind does not have.
    #[error("there is no such field: correct its name or remove it")]
    UnknownField,
    /// An object that was defined before.
    #[error("the object is already defined in {first}: that one stays")]
    Duplicate {
        /// File and document of the first.
        first: Place,
    },
    /// An object of MetalLB outside MetalLB's namespace.
    #[error("only namespace {expected} is read for this kind: the object is ignored")]
    OtherNamespace {
        /// The namespace that is read.
        expected: String,
    },
    /// The v0.9 `ConfigMap` has no key `config`.
    #[error("the key \"config\" is missing under data")]
    NoConfigKey,
    /// The v0.9 `ConfigMap` has the key `config` as binary data.
    #[error("the key \"config\" must be text under data, not binaryData")]
    BinaryConfig,
    /// The v0.9 document is invalid.
    #[error("{message}")]
    Legacy {
        /// The parser's words, with line and column in the document.
        message: String,
    },
    /// There are Node objects, and this node is not among them.
    #[error("there are Node objects, but none is named {me}: this node announces nothing")]
    NotAmongNodes {
        /// The name of this node.
        me: String,
    },
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, reason: impl Into<Reason>) -> Self {
        Self { place, reason: reason.into(), effect: Effect::AsSaid }
    }

    /// There are nodes, and this one is not among them.
    pub fn not_among_nodes(me: &NodeName) -> Self {
        let place =
            Place { object: format!("Node {me}"), field: "metadata.name".to_owned(), ..Place::default() };
        Self::new(place, ObjectError::NotAmongNodes { me: me.to_string() })
    }

    /// The same with what it means for the object. A warning means nothing for it.
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        if self.is_warning() { self } else { Self { effect, ..self } }
    }

    /// A problem with a field that an API server would have refused.
    pub fn at_field(object: &Place, error: FieldError) -> Self {
        Self::new(object.field(error.field), error.error)
    }

    /// Whether everything that could be meant still takes effect.
    pub fn is_warning(&self) -> bool {
        match &self.reason {
            Reason::Core(reason) => reason.is_warning(),
            Reason::File(error) => matches!(error, FileError::NotAStatus | FileError::NotAMemory),
            Reason::Object(error) => {
                matches!(error, ObjectError::IgnoredKind { .. } | ObjectError::OtherNamespace { .. })
            }
            Reason::Convert(_) => false,
        }
    }
}

impl From<lb_core::problem::Problem> for Problem {
    fn from(problem: lb_core::problem::Problem) -> Self {
        Self { place: problem.place, reason: Reason::Core(problem.reason), effect: problem.effect }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.place, self.reason, self.effect)
    }
}
