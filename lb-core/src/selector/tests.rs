use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn expression(key: &str, operator: &str, values: &[&str]) -> RawSelector {
    let values = values.iter().map(|v| (*v).to_owned()).collect();
    RawSelector {
        match_expressions: vec![RawExpression { key: key.to_owned(), operator: operator.to_owned(), values }],
        ..RawSelector::default()
    }
}

#[test]
fn operators_as_kubernetes_has_them() {
    let (a, b, none) = (labels(&[("x", "a")]), labels(&[("x", "b")]), labels(&[]));
    for (operator, values, matches) in [
        ("In", &["a", "c"][..], [true, false, false]),
        ("NotIn", &["a", "c"], [false, true, true]),
        ("Exists", &[], [true, true, false]),
        ("DoesNotExist", &[], [false, false, true]),
    ] {
        let selector = Selector::parse(&expression("x", operator, values)).unwrap();
        assert_eq!([&a, &b, &none].map(|l| selector.matches(l)), matches, "{operator}");
    }
}

#[test]
fn all_requirements_must_hold_and_the_empty_selector_matches() {
    let raw =
        RawSelector { match_labels: labels(&[("x", "a"), ("y", "b")]), ..expression("z", "Exists", &[]) };
    let selector = Selector::parse(&raw).unwrap();
    assert!(selector.matches(&labels(&[("x", "a"), ("y", "b"), ("z", "")])));
    assert!(!selector.matches(&labels(&[("x", "a"), ("y", "b")])));
    assert!(!selector.matches(&labels(&[("x", "a"), ("z", "")])));
    assert!(Selector::default().matches(&labels(&[])));
    assert!(any_matches(&[], &labels(&[])) && !any_matches(&[selector], &labels(&[])));
}

#[test]
fn unreadable_selectors_are_refused() {
    for (raw, message) in [
        (expression("", "In", &["a"]), "an expression of the label selector has no key"),
        (
            expression("x", "Is", &["a"]),
            "label selector operator \"Is\" on key \"x\": use In, NotIn, Exists or DoesNotExist",
        ),
        (
            expression("x", "In", &[]),
            "label selector operator In or NotIn on key \"x\" needs at least one value",
        ),
        (
            expression("x", "Exists", &["a"]),
            "label selector operator Exists or DoesNotExist on key \"x\" takes no values",
        ),
        (expression("x", "In", &["a", "a"]), "label selector on key \"x\" lists value \"a\" twice"),
    ] {
        assert_eq!(Selector::parse(&raw).unwrap_err().to_string(), message);
    }
}
