use super::*;

fn announcement(service: &str, node: &str, links: &[&str]) -> Announcement {
    Announcement {
        service: service.parse().unwrap(),
        node: NodeName::new(node).unwrap(),
        links: links.iter().map(|link| LinkName::new(link).unwrap()).collect(),
    }
}

fn announced(services: &[(&str, &[&str])]) -> All {
    let one = |(service, links): &(&str, &[&str])| {
        let announced = Announced {
            uid: "u".into(),
            ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            links: links.iter().map(|link| LinkName::new(link).unwrap()).collect(),
        };
        (service.parse().unwrap(), announced)
    };
    let alive = ["a", "b"].into_iter().map(|node| NodeName::new(node).unwrap()).collect();
    All { services: services.iter().map(one).collect(), alive }
}

#[test]
fn what_is_said_follows_what_is_the_case() {
    let me = NodeName::new("a").unwrap();
    let (x, y) = ("web/x", "web/y");
    for (all, objects, expected) in [
        (announced(&[]), vec![], vec![]),
        (announced(&[(x, &["eth0"])]), vec![], vec![Write::Create(announcement(x, "a", &["eth0"]))]),
        (announced(&[(x, &["eth0"])]), vec![("1", announcement(x, "a", &["eth0"]))], vec![]),
        (
            announced(&[(x, &["eth0", "eth1"])]),
            vec![("1", announcement(x, "a", &["eth0"]))],
            vec![Write::Say("1".to_owned(), announcement(x, "a", &["eth0", "eth1"]))],
        ),
        // Said twice; said by the owner before, who may be dead; not announced any more.
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "a", &["eth0"])), ("2", announcement(x, "a", &["eth0"]))],
            vec![Write::Delete("2".to_owned())],
        ),
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "dead", &["eth0"])), ("2", announcement(y, "a", &["eth0"]))],
            vec![
                Write::Delete("1".to_owned()),
                Write::Delete("2".to_owned()),
                Write::Create(announcement(x, "a", &["eth0"])),
            ],
        ),
        // What others say is theirs to take back.
        (announced(&[]), vec![("1", announcement(x, "b", &["eth0"]))], vec![]),
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "b", &["eth0"]))],
            vec![Write::Create(announcement(x, "a", &["eth0"]))],
        ),
    ] {
        let objects = objects.into_iter().map(|(name, said)| (name.to_owned(), said)).collect();
        assert_eq!(writes(&me, &all, &objects), expected);
    }
}
