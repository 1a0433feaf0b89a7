use proptest::prelude::*;

use super::*;

#[test]
fn names_are_checked() {
    assert_eq!(NodeName::new(""), Err(NameError::Empty));
    assert_eq!(NodeName::new("Node"), Err(NameError::BadCharacter('N')));
    assert_eq!(NodeName::new("a".repeat(254)), Err(NameError::TooLong { limit: 253 }));
    assert_eq!(NodeName::new("node-1.example").unwrap().as_str(), "node-1.example");
    assert_eq!(LinkName::new("a/b"), Err(NameError::BadCharacter('/')));
    assert_eq!(LinkName::new("eth 0"), Err(NameError::BadCharacter(' ')));
    assert_eq!(LinkName::new("0123456789abcdef"), Err(NameError::TooLong { limit: 15 }));
    assert_eq!(LinkName::new("enp0s31f6.42").unwrap().to_string(), "enp0s31f6.42");
    assert_eq!(PoolName::new("My_Pool").unwrap().as_str(), "My_Pool");
    assert_eq!(PoolName::new("my pool"), Err(NameError::BadCharacter(' ')));
}

#[test]
fn service_keys_are_safe_as_file_names() {
    assert_eq!("default/web".parse::<ServiceKey>().unwrap().to_string(), "default/web");
    assert_eq!("web".parse::<ServiceKey>(), Err(NameError::NoNamespace));
    assert_eq!(ServiceKey::new("default", "../etc"), Err(NameError::BadCharacter('/')));
    assert_eq!(ServiceKey::new("a.b", "c"), Err(NameError::BadCharacter('.')));
    assert_eq!(ServiceKey::new("", "c"), Err(NameError::Empty));
}

#[test]
fn service_keys_are_in_order_of_namespace_and_name() {
    let key = |text: &str| text.parse::<ServiceKey>().unwrap();
    let long = format!("{}/{}", "n".repeat(253), "m.".repeat(126));
    for text in ["a/b", "a/b.c", &long] {
        let (namespace, name) = text.split_once('/').unwrap();
        assert_eq!((key(text).namespace(), key(text).name(), key(text).as_str()), (namespace, name, text));
        assert_eq!(key(text), key(text));
    }
    let sorted = ["a/x", "a/x-y", "a/x.y", "a-b/a", "a0/a", "b/a"].map(key);
    assert!(sorted.is_sorted_by(|one, other| one < other), "the text as a whole would put a-b/a first");
    assert_ne!(key("a/bc"), key("ab/c"));
}

#[test]
fn vlans_are_read_as_the_annotation_writes_them() {
    let id = |n| VlanId::new(n).unwrap();
    assert_eq!("42".parse(), Ok(Vlans::Single(id(42))));
    assert_eq!(" 4094 ".parse(), Ok(Vlans::Single(id(4094))));
    assert_eq!("100.42".parse(), Ok(Vlans::Double { outer: id(100), inner: id(42) }));
    for (text, number) in [("0", 0), ("4095", 4095), ("70000", 70_000), ("1.0", 0)] {
        assert_eq!(text.parse::<Vlans>(), Err(VlanError::OutOfRange(number)), "{text}");
    }
    for text in ["", "x", "-1", "+1", "1.", ".1", "1.2.3", "1,2", "99999999999999999999999"] {
        assert_eq!(text.parse::<Vlans>(), Err(VlanError::Unreadable(text.to_owned())), "{text}");
    }
    assert_eq!(Vlans::from_ids(0, 5), Err(VlanError::OutOfRange(0)));
    assert_eq!(Vlans::from_ids(5, 4095), Err(VlanError::OutOfRange(4095)));
    assert_eq!(Vlans::default().to_string(), "untagged");
}

#[test]
fn macs_are_six_pairs_of_digits() {
    assert_eq!("02:00:00:00:00:aA".parse(), Ok(Mac([2, 0, 0, 0, 0, 0xaa])));
    assert_eq!(Mac([2, 0, 0, 0, 0, 0xaa]).to_string(), "02:00:00:00:00:aa");
    for text in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:aa:bb",
        "2:0:0:0:0:aa",
        "02:00:00:00:00:+a",
        "gg:00:00:00:00:00",
    ] {
        assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
    }
}

proptest! {
    #[test]
    fn vlans_and_macs_survive_text_and_numbers(outer in 0u16..=4094, inner in 0u16..=4094, octets: [u8; 6]) {
        if let Ok(vlans) = Vlans::from_ids(outer, inner) {
            prop_assert_eq!(vlans.ids(), (outer, inner));
            if vlans != Vlans::Untagged {
                prop_assert_eq!(vlans.to_string().parse::<Vlans>(), Ok(vlans));
            }
        } else {
            prop_assert!(outer == 0 && inner != 0);
        }
        prop_assert_eq!(Mac(octets).to_string().parse::<Mac>(), Ok(Mac(octets)));
    }
}
