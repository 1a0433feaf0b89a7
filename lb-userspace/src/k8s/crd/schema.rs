//! Schemas of values that several kinds have.
//!
//! Every list and text that a rule looks at is bounded: an API server refuses a CRD whose rules could be too costly
//! for the largest object that fits. The bounds are far above what anybody writes, see docs/compatibility.md.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Most entries of a pool's address list. A comparison of each with each has to be affordable.
const MAX_ADDRESSES: u32 = 400;
/// Longest entry: two IPv6 addresses with embedded IPv4 addresses, and blanks.
const MAX_ENTRY: u32 = 96;
/// Most names in a list.
const MAX_NAMES: u32 = 256;
/// Most selectors in a list.
const MAX_SELECTORS: u32 = 1000;
/// Most expressions of a selector.
const MAX_EXPRESSIONS: u32 = 32;

/// An entry with a dash is a range, and these are its ends.
const FIRST: &str = "self.find('^[^-]*').trim()";
const LAST: &str = "self.find('[^-]*$').trim()";

fn rule(rule: impl Into<String>, message: &str) -> Value {
    json!({"rule": rule.into(), "message": message})
}

/// `spec.addresses` of a pool. Each rule leaves to the ones before it what they refuse, so that one mistake is one
/// message. The order of IPv6 addresses can't be told in CEL: the controller says it.
pub(super) fn addresses(_: &mut SchemaGenerator) -> Schema {
    let two_ends = format!("self.matches('^[^-]+-[^-]+$') && isIP({FIRST}) && isIP({LAST})");
    let one_family = format!("ip({FIRST}).family() == ip({LAST}).family()");
    let number = |end: &str| {
        let octet = |index: u8, shift: u32| format!("int({end}.split('.', 4)[{index}]) * {shift}");
        [octet(0, 1 << 24), octet(1, 1 << 16), octet(2, 1 << 8), octet(3, 1)].join(" + ")
    };
    let ordered = format!("ip({FIRST}).family() == 6 || {} <= {}", number(FIRST), number(LAST));
    let rules = json!([
        rule(
            format!("self.contains('-') ? {two_ends} : isCIDR(self.trim())"),
            "must be a CIDR block (192.0.2.0/24) or a range (192.0.2.10-192.0.2.20); a single address is written as \
             192.0.2.1/32 or 2001:db8::1/128",
        ),
        rule(
            format!("!({two_ends}) || {one_family}"),
            "both ends of a range must be of one family, IPv4 or IPv6",
        ),
        rule(
            format!("!({two_ends}) || !({one_family}) || {ordered}"),
            "the range starts after its end: swap them",
        ),
    ]);
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_ADDRESSES,
        "items": {"type": "string", "maxLength": MAX_ENTRY, "x-kubernetes-validations": rules},
        "x-kubernetes-validations": [once("an entry is listed twice")],
    })
}

/// A rule for a list of texts.
fn once(message: &str) -> Value {
    rule("self.all(one, self.exists_one(other, other == one))", message)
}

fn list_of_names(longest: u32, message: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_NAMES,
        "items": {"type": "string", "minLength": 1, "maxLength": longest},
        "x-kubernetes-validations": [once(message)],
    })
}

/// Names of objects.
pub(super) fn names(_: &mut SchemaGenerator) -> Schema {
    list_of_names(253, "a name is listed twice")
}

/// Names of namespaces.
pub(super) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    list_of_names(63, "a namespace is listed twice")
}

/// Names of network interfaces: at most 15 bytes, as in the kernel.
pub(super) fn interfaces(_: &mut SchemaGenerator) -> Schema {
    list_of_names(15, "an interface is listed twice")
}

/// A label selector.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "A label selector. matchLabels and matchExpressions must all hold; an empty selector matches \
                        everything.",
        "properties": {
            "matchLabels": {
                "description": "Labels that must all be there with these values.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "matchExpressions": {
                "description": "Expressions that must all hold.",
                "type": "array",
                "maxItems": MAX_EXPRESSIONS,
                "items": {
                    "type": "object",
                    "description": "A condition on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "Key of the label.", "type": "string", "minLength": 1},
                        "operator": {
                            "description": "In and NotIn compare with values; Exists and DoesNotExist look at the key \
                                            alone.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values to compare with: at least one for In and NotIn, none for the others.",
                            "type": "array",
                            "items": {"type": "string"},
                        },
                    },
                    "x-kubernetes-validations": [
                        rule(
                            "!(self.operator in ['In', 'NotIn']) || has(self.values) && size(self.values) > 0",
                            "values: the operators In and NotIn need at least one value",
                        ),
                        rule(
                            "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || \
                             size(self.values) == 0",
                            "values: the operators Exists and DoesNotExist take no values",
                        ),
                    ],
                },
            },
        },
    })
}

/// Label selectors, any of which may match.
pub(super) fn selectors(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": MAX_SELECTORS, "items": selector(generator)})
}
