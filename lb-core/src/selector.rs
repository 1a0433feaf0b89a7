//! Label selectors, as Kubernetes evaluates them (`apimachinery/pkg/apis/meta/v1`, `LabelSelector`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

#[cfg(test)]
mod tests;

/// A label selector as it was written; [`Selector::parse`] judges it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawSelector {
    /// Pairs that must all be present.
    pub match_labels: BTreeMap<String, String>,
    /// Expressions that must all hold.
    pub match_expressions: Vec<RawExpression>,
}

/// One expression of a selector as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawExpression {
    /// Label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values, for `In` and `NotIn`.
    pub values: Vec<String>,
}

/// Why a label selector is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// An expression has no key.
    #[error("an expression of the label selector has no key")]
    NoKey,
    /// The operator is none of the four of Kubernetes.
    #[error("label selector operator {operator:?} on key {key:?}: use In, NotIn, Exists or DoesNotExist")]
    UnknownOperator {
        /// The label key.
        key: String,
        /// What was written.
        operator: String,
    },
    /// `In` and `NotIn` need at least one value.
    #[error("label selector operator In or NotIn on key {key:?} needs at least one value")]
    NoValues {
        /// The label key.
        key: String,
    },
    /// `Exists` and `DoesNotExist` take no values.
    #[error("label selector operator Exists or DoesNotExist on key {key:?} takes no values")]
    UnexpectedValues {
        /// The label key.
        key: String,
    },
    /// MetalLB refuses a value that is listed twice (`internal/config/validation.go`).
    #[error("label selector on key {key:?} lists value {value:?} twice")]
    DuplicateValue {
        /// The label key.
        key: String,
        /// The value.
        value: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// A label selector that can be evaluated. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Selector {
    /// All must hold. Sorted, so that equal selectors compare equal however they were written.
    requirements: BTreeSet<Requirement>,
}

impl Selector {
    /// Judges a selector as it was written.
    pub fn parse(raw: &RawSelector) -> Result<Self, SelectorError> {
        let labels =
            raw.match_labels.iter().map(|(k, v)| Ok(Requirement::In(k.clone(), BTreeSet::from([v.clone()]))));
        let expressions = raw.match_expressions.iter().map(parse_expression);
        Ok(Self { requirements: labels.chain(expressions).collect::<Result<_, SelectorError>>()? })
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.holds(labels))
    }
}

/// Whether any of the selectors matches; an empty list matches everything, as in all of MetalLB's lists but
/// the one of preferred nodes.
pub fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
}

fn parse_expression(raw: &RawExpression) -> Result<Requirement, SelectorError> {
    let RawExpression { key, operator, values } = raw;
    if key.is_empty() {
        return Err(SelectorError::NoKey);
    }
    let (key, list) = (key.clone(), matches!(operator.as_str(), "In" | "NotIn"));
    if list && values.is_empty() {
        return Err(SelectorError::NoValues { key });
    }
    if matches!(operator.as_str(), "Exists" | "DoesNotExist") && !values.is_empty() {
        return Err(SelectorError::UnexpectedValues { key });
    }
    let mut set = BTreeSet::new();
    for value in values {
        if !set.insert(value.clone()) {
            return Err(SelectorError::DuplicateValue { key, value: value.clone() });
        }
    }
    match operator.as_str() {
        "In" => Ok(Requirement::In(key, set)),
        "NotIn" => Ok(Requirement::NotIn(key, set)),
        "Exists" => Ok(Requirement::Exists(key)),
        "DoesNotExist" => Ok(Requirement::DoesNotExist(key)),
        other => Err(SelectorError::UnknownOperator { key, operator: other.to_owned() }),
    }
}
