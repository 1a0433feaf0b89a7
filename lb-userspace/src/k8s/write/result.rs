//! What became of a write, as metrics tell it.

use super::WriteError;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    /// It was carried out.
    Ok,
    /// Somebody else wrote the object first, or another field manager owns the field.
    Conflict,
    /// The API server answers with another error: rights are missing, or the object is not valid.
    Refused,
    /// There was no answer in time; the write may have been carried out.
    Timeout,
    /// The request or the answer did not get through.
    Unreachable,
}

impl WriteResult {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Conflict, Self::Refused, Self::Timeout, Self::Unreachable];

    /// Of a write with this answer.
    pub fn of<T>(answer: &Result<T, WriteError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(WriteError::Conflict) => Self::Conflict,
            Err(
                WriteError::Gone
                | WriteError::Forbidden { .. }
                | WriteError::Invalid { .. }
                | WriteError::Busy { .. },
            ) => Self::Refused,
            Err(WriteError::Timeout) => Self::Timeout,
            Err(WriteError::Unreachable(_)) => Self::Unreachable,
        }
    }

    /// Value of the label `result`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}
