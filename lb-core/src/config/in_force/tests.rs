use proptest::prelude::*;

use super::{
    super::tests::{ad, bad_selector, pool},
    *,
};

fn pieces(list: &[(&str, &[&str])]) -> Vec<Piece> {
    list.iter().map(|(name, addresses)| Piece::Pool(Arc::new(pool(name, addresses)))).collect()
}

/// The v0.9 document with these pools.
fn legacy(list: &[(&str, &[&str])]) -> Piece {
    let place = Place { object: "ConfigMap metallb-system/config".to_owned(), ..Place::default() };
    let pools: Vec<RawPool> = list.iter().map(|(name, addresses)| pool(name, addresses)).collect();
    let at = |(index, pool): (usize, RawPool)| RawPool {
        place: place.field(format!("address-pools[{index}]")),
        ..pool
    };
    let advertisements = list.iter().map(|(name, _)| ad(name, &[name])).collect();
    let pools = pools.into_iter().enumerate().map(at).collect();
    Piece::Legacy(Arc::new(LegacyConfig { place: place.clone(), pools, advertisements, warnings: vec![] }))
}

/// Written beside former, by position; `None` where there is none.
fn candidates(written: &[Option<Piece>], former: &[Option<Piece>]) -> Vec<Candidate> {
    let pairs = written.iter().zip(former);
    pairs.map(|(w, f)| Candidate { written: w.clone(), former: f.clone() }).collect()
}

fn pools_in_force(settled: &Settled) -> Vec<String> {
    let ranges = |pool: &crate::pool::Pool| {
        pool.ranges().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    settled.config.pools.values().map(|pool| format!("{}: {}", pool.name, ranges(pool))).collect()
}

fn texts(settled: &Settled) -> Vec<String> {
    settled.problems.iter().map(ToString::to_string).collect()
}

/// Two pools in force, and what an edit of both makes of them.
#[test]
fn what_is_in_force_comes_first() {
    const A: &str = "192.0.2.0/24";
    const B: &str = "198.51.100.0/24";
    const C: &str = "203.0.113.0/24";
    const BAD: &str = "192.0.2.9-192.0.2.1";
    use Stands::{Former, Written};
    for (what, a, b, expected, stands) in [
        ("nothing changed", &[A][..], &[B][..], [A, B], [Written, Written]),
        ("both move", &[C], &[A], [C, A], [Written, Written]),
        ("they change places", &[B], &[A], [B, A], [Written, Written]),
        ("a bad edit beside a good one", &[BAD], &[C], [A, C], [Former, Written]),
        ("a good edit beside a bad one", &[C], &[BAD], [C, B], [Written, Former]),
        ("the first takes what the second has", &[A, "198.51.100.128/25"], &[B], [A, B], [Former, Written]),
        ("the second takes what the first has", &[A], &["192.0.0.0/16"], [A, B], [Written, Former]),
        ("one takes what a bad edit would free", &[BAD], &[A], [A, B], [Former, Former]),
        ("the same, the other way round", &[B], &[BAD], [A, B], [Former, Former]),
        ("half of it is bad", &[C, BAD], &[B], [A, B], [Former, Written]),
        ("nothing is left", &[], &[B], [A, B], [Former, Written]),
        ("both want a third", &[C], &["203.0.113.128/25"], [C, B], [Written, Former]),
    ] {
        let former: Vec<_> = pieces(&[("a", &[A]), ("b", &[B])]).into_iter().map(Some).collect();
        let written: Vec<_> = pieces(&[("a", a), ("b", b)]).into_iter().map(Some).collect();
        let settled = settle(&candidates(&written, &former), &[], &BTreeMap::new());
        let [expected_a, expected_b] = expected;
        assert_eq!(
            pools_in_force(&settled),
            [format!("a: {expected_a}"), format!("b: {expected_b}")],
            "{what}"
        );
        assert_eq!(settled.stands, stands, "{what}");
        for (name, stand) in [("a", stands[0]), ("b", stands[1])] {
            let place = format!("IPAddressPool metallb-system/{name}, ");
            let told: Vec<String> = texts(&settled).into_iter().filter(|t| t.starts_with(&place)).collect();
            assert_eq!(told.is_empty(), stand == Written, "{what}: {told:?}");
            let end = "; what it said before stays in force";
            assert!(told.iter().all(|text| text.ends_with(end)), "{what}: {told:?}");
        }
    }
}

#[test]
fn an_object_that_was_never_good_has_no_effect() {
    let good = pieces(&[("b", &["198.51.100.0/24", "2001:db8::/112"])]).remove(0);
    for (bad, reason) in [
        (&["192.0.2.0/24", "127.0.0.0/30"][..], "spec.addresses[1]: 127.0.0.0/30 contains addresses of"),
        (&["198.51.100.7/32"], "spec.addresses[0]: 198.51.100.7/32 overlaps 198.51.100.0/24 of pool b"),
        (&["2001:db8::7/128"], "spec.addresses[0]: 2001:db8::7/128 overlaps 2001:db8::/112 of pool b"),
    ] {
        // The newcomer comes first in the list, and stands behind what is in force all the same.
        let new = Candidate { written: Some(pieces(&[("a", bad)]).remove(0)), former: None };
        let old = Candidate { written: Some(good.clone()), former: Some(good.clone()) };
        let settled = settle(&[new, old], &[], &BTreeMap::new());
        assert_eq!(settled.stands, [Stands::Nothing, Stands::Written]);
        assert_eq!(pools_in_force(&settled), ["b: 198.51.100.0/24 2001:db8::/112"]);
        let text = settled.problems[0].to_string();
        assert!(text.starts_with(&format!("IPAddressPool metallb-system/a, {reason}")), "{text}");
        assert!(text.ends_with("; it has no effect until it is corrected"), "{text}");
    }
}

#[test]
fn what_can_not_be_read_stays_and_is_not_told_twice() {
    let good = pieces(&[("a", &["192.0.2.0/24"])]).remove(0);
    let unreadable = Candidate { written: None, former: Some(good) };
    let settled = settle(&[unreadable, Candidate::default()], &[], &BTreeMap::new());
    assert_eq!(settled.stands, [Stands::Former, Stands::Nothing]);
    assert_eq!((settled.problems.len(), settled.config.pools.len()), (0, 1));
}

#[test]
fn advertisements_stay_too() {
    let pools = pieces(&[("a", &["192.0.2.0/24"])]).remove(0);
    let piece = |ad: RawAdvertisement| Some(Piece::Advertisement(Arc::new(ad)));
    let good = piece(ad("x", &["a"]));
    for bad in [
        RawAdvertisement { vlan: Some("5000".to_owned()), ..ad("x", &["a"]) },
        RawAdvertisement { node_selectors: vec![bad_selector()], ..ad("x", &["a"]) },
        ad("x", &["a", "a"]),
    ] {
        let written = [Some(pools.clone()), piece(bad)];
        let settled = settle(&candidates(&written, &[None, good.clone()]), &[], &BTreeMap::new());
        assert_eq!(settled.stands, [Stands::Written, Stands::Former]);
        assert_eq!(settled.config.advertisements.len(), 1);
        let settled = settle(&candidates(&written, &[None, None]), &[], &BTreeMap::new());
        assert_eq!(settled.stands, [Stands::Written, Stands::Nothing]);
        assert!(settled.config.advertisements.is_empty());
    }
}

/// metallb.md, section 1: a document is all or nothing, and one without an address in use is refused.
#[test]
fn a_v09_document_is_one_object() {
    let good = legacy(&[("a", &["192.0.2.0/24"]), ("b", &["2001:db8::/112"])]);
    let crd = pieces(&[("c", &["203.0.113.0/24"])]).remove(0);
    let service: ServiceKey = "default/web".parse().unwrap();
    let used = |ip: &str| BTreeMap::from([(ip.parse().unwrap(), service.clone())]);
    for (written, in_use, stands, told) in [
        (legacy(&[("a", &["192.0.2.0/25"])]), BTreeMap::new(), Stands::Written, ""),
        (legacy(&[("z", &["192.0.2.0/25"])]), used("192.0.2.7"), Stands::Written, ""),
        (legacy(&[]), used("9.9.9.9"), Stands::Written, ""),
        (
            legacy(&[("a", &["192.0.2.0/25"])]),
            used("2001:db8::7"),
            Stands::Former,
            "ConfigMap metallb-system/config, address-pools: no pool has 2001:db8::7 any more, which Service \
             default/web has: keep the address in a pool until the Service is deleted or has another one; what it \
             said before stays in force",
        ),
        (
            legacy(&[("b", &["2001:db8::/112"])]),
            used("192.0.2.200"),
            Stands::Former,
            "address-pools: no pool has 192.0.2.200 any more",
        ),
        (
            legacy(&[("a", &["192.0.2.0/24"]), ("b", &["203.0.113.8/29"])]),
            BTreeMap::new(),
            Stands::Former,
            "address-pools[1].addresses[0]: 203.0.113.8/29 overlaps 203.0.113.0/24 of pool c",
        ),
        (
            legacy(&[("c", &["192.0.2.0/24"])]),
            BTreeMap::new(),
            Stands::Former,
            "address-pools[0].name: \"c\" is already the name of another object",
        ),
        // What has an error is in no pool either, and that is not told as a second error.
        (
            legacy(&[("a", &["192.0.2.9-192.0.2.8"]), ("b", &["2001:db8::/112"])]),
            used("192.0.2.7"),
            Stands::Former,
            "address-pools[0].addresses[0]: the range starts at 192.0.2.9, after its end 192.0.2.8: swap them; what it \
             said before stays in force",
        ),
    ] {
        let both = candidates(&[Some(written), Some(crd.clone())], &[Some(good.clone()), Some(crd.clone())]);
        let settled = settle(&both, &[], &in_use);
        assert_eq!(settled.stands, [stands, Stands::Written], "{:?}", texts(&settled));
        assert_eq!(texts(&settled).is_empty(), told.is_empty(), "{:?}", texts(&settled));
        let lost = texts(&settled).iter().any(|text| text.contains("any more"));
        assert_eq!(lost, told.contains("any more"), "{:?}", texts(&settled));
        assert!(texts(&settled).first().is_none_or(|text| text.contains(told)), "{:?}", texts(&settled));
        if stands == Stands::Former {
            let expected = ["a: 192.0.2.0/24", "b: 2001:db8::/112", "c: 203.0.113.0/24"];
            assert_eq!(pools_in_force(&settled), expected);
            assert_eq!(settled.config.advertisements.len(), 2);
        }
    }
}

#[test]
fn a_document_that_takes_over_the_pools_of_objects_may_use_their_addresses() {
    let old = legacy(&[("a", &["192.0.2.0/24"])]);
    let new = pieces(&[("b", &["192.0.2.0/24"])]).remove(0);
    let in_use = BTreeMap::from([("192.0.2.7".parse().unwrap(), "default/web".parse().unwrap())]);
    let written = [Some(legacy(&[])), Some(new)];
    let settled = settle(&candidates(&written, &[Some(old), None]), &[], &in_use);
    assert_eq!(settled.stands, [Stands::Written, Stands::Written]);
}

#[test]
fn warnings_take_nothing_away() {
    let foreign = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    let written = pieces(&[("a", &["192.0.2.0/24", "2001:db8::/112"])]).remove(0);
    for former in [None, Some(written.clone())] {
        let candidate = Candidate { written: Some(written.clone()), former };
        let settled = settle(&[candidate], &foreign, &BTreeMap::new());
        assert_eq!((settled.stands.as_slice(), settled.problems.len()), (&[Stands::Written][..], 2));
        assert!(settled.problems.iter().all(|p| p.is_warning() && p.effect == Effect::AsSaid));
    }
}

/// Forms of four pools, some of them bad and many of them in each other's way.
fn forms() -> impl Strategy<Value = Vec<Option<Piece>>> {
    let v4 =
        (0u8..3, 0u8..40, 0u8..12).prop_map(|(net, a, n)| format!("10.0.{net}.{a}-10.0.{net}.{}", a + n));
    let v6 = (0u8..40, 0u8..12).prop_map(|(a, n)| format!("fd00::{a:x}-fd00::{:x}", a + n));
    let bad = Just("10.9.9.9-10.0.0.1".to_owned());
    let entry = prop_oneof![6 => v4, 3 => v6, 1 => bad];
    let form = prop::option::weighted(0.9, prop::collection::vec(entry, 0..3));
    prop::collection::vec(form, 4).prop_map(|forms| {
        let named = forms.into_iter().zip(["a", "b", "c", "d"]);
        let piece = |(form, name): (Option<Vec<String>>, &str)| {
            Some(Piece::Pool(Arc::new(RawPool { addresses: form?, ..pool(name, &[]) })))
        };
        named.map(piece).collect()
    })
}

proptest! {
    /// Any history of edits: nothing in force is lost to an error, nothing overlaps, nothing is unsaid, and asking
    /// again changes nothing.
    #[test]
    fn an_error_never_takes_away_what_is_in_force(history in prop::collection::vec(forms(), 1..6)) {
        let mut in_force: Vec<Option<Piece>> = vec![None; 4];
        for written in history {
            let both = candidates(&written, &in_force);
            let settled = settle(&both, &[], &BTreeMap::new());
            let wanted = both.iter().filter_map(|c| c.written.as_ref().or(c.former.as_ref()));
            let whole: Vec<RawPool> =
                wanted.flat_map(Piece::pools).cloned().collect();
            if Config::validate(&whole, &[], &[]).1.is_empty() {
                let all = both.iter().zip(&settled.stands);
                prop_assert!(all.clone().all(|(c, s)| c.written.is_none() || *s == Stands::Written));
            }
            for (candidate, stands) in both.iter().zip(&settled.stands) {
                prop_assert!(candidate.former.is_none() || *stands != Stands::Nothing);
                let unchanged = candidate.written.is_some() && candidate.written == candidate.former;
                prop_assert!(!unchanged || *stands == Stands::Written);
                if let Some(Piece::Pool(raw)) = &candidate.written {
                    let told = settled.problems.iter().any(|p| p.place.object == raw.place.object);
                    prop_assert_eq!(told, *stands != Stands::Written);
                }
            }
            in_force = both.iter().zip(&settled.stands).map(|(c, s)| c.form(*s).cloned()).collect();
            let forms: Vec<RawPool> =
                in_force.iter().flatten().flat_map(Piece::pools).cloned().collect();
            let (config, problems) = Config::validate(&forms, &[], &[]);
            prop_assert_eq!(problems, vec![]);
            prop_assert_eq!(&config, &settled.config);
            let again = settle(&candidates(&written, &in_force), &[], &BTreeMap::new());
            prop_assert_eq!(again, settled);
        }
    }
}
