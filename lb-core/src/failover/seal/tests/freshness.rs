//! Recordings, lives and introductions.

use super::*;

#[test]
fn strangers_are_introduced_by_three_hellos() {
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
    assert_eq!(carry(&mut a, &mut b, &tell, START), 3);
    assert!(a.knows(B) && b.knows(A));
    let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
    assert_eq!(b.open(&tell, START), Ok(Opened::Message { from: A, message: Message::Tell(TELL) }));
    let tell = b.seal(A, &Message::Tell(TELL)).unwrap();
    assert_eq!(a.open(&tell, START), Ok(Opened::Message { from: B, message: Message::Tell(TELL) }));
}

#[test]
fn a_new_life_is_introduced_and_the_old_one_is_over() {
    for first_speaks in [true, false] {
        let (mut a, mut b) = pair();
        let held_up = a.seal(B, &Message::Tell(TELL)).unwrap();
        let mut again = channel("node-a", 3);
        if first_speaks {
            let tell = again.seal(B, &Message::Tell(TELL)).unwrap();
            carry(&mut again, &mut b, &tell, START);
        } else {
            let tell = b.seal(A, &Message::Tell(TELL)).unwrap();
            carry(&mut b, &mut again, &tell, START);
        }
        let tell = again.seal(B, &Message::Tell(TELL)).unwrap();
        assert!(is_message(&b.open(&tell, START)));
        let tell = b.seal(A, &Message::Tell(TELL)).unwrap();
        assert!(is_message(&again.open(&tell, START)));
        assert!(!is_message(&b.open(&held_up, START)));
    }
}

#[test]
fn no_recording_brings_back_an_old_life() {
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    // Everything of the first life is recorded; its last message is held up.
    let first = a.seal(B, &Message::Tell(TELL)).unwrap();
    let ask = answer(b.open(&first, START)).unwrap();
    let echo = answer(a.open(&ask, START)).unwrap();
    let back = answer(b.open(&echo, START)).unwrap();
    answer(a.open(&back, START));
    let held_up = a.seal(B, &Message::Tell(TELL)).unwrap();
    // A second and a third life follow; B hears of the third only much later.
    let mut now = START + Duration::from_mins(1);
    for incarnation in [3, 4] {
        let mut again = channel("node-a", incarnation);
        let tell = again.seal(B, &Message::Tell(TELL)).unwrap();
        carry(&mut again, &mut b, &tell, now);
        for recorded in [&first, &echo, &held_up] {
            assert!(!is_message(&b.open(recorded, now)));
            now += Duration::from_secs(5);
        }
        let tell = again.seal(B, &Message::Tell(TELL)).unwrap();
        assert!(is_message(&b.open(&tell, now)), "the life {incarnation} is the present one");
    }
    // And nothing for a former life of B is accepted by its next one.
    let mut b = channel("node-b", 5);
    for recorded in [&first, &echo, &held_up] {
        assert!(!is_message(&b.open(recorded, now)));
        now += Duration::from_secs(5);
    }
    assert!(!b.knows(A));
}

#[test]
fn an_answer_counts_for_a_second_and_once() {
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
    let ask = answer(b.open(&tell, START)).unwrap();
    let echo = answer(a.open(&ask, START)).unwrap();
    let mut late = b.clone();
    assert!(answer(late.open(&echo, START + FRESH)).is_some());
    assert!(!late.knows(A));
    answer(b.open(&echo, (START + FRESH).saturating_sub(Duration::from_nanos(1))));
    assert!(b.knows(A));
    assert_eq!(b.open(&echo, START + FRESH), Err(Refusal::Replayed));
}

#[test]
fn an_answer_to_the_hello_of_a_former_life_is_none() {
    // The counters of both lives of B are the same.
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
    let ask = answer(b.open(&tell, START)).unwrap();
    let echo = answer(a.open(&ask, START)).unwrap();
    let mut again = channel("node-b", 3);
    answer(again.open(&tell, START));
    answer(again.open(&echo, START));
    assert!(!again.knows(A));
}

#[test]
fn two_agents_with_one_name_are_noticed_by_who_hears_both() {
    let (mut one, mut b) = pair();
    let mut other = channel("node-a", 3);
    let tell = other.seal(B, &Message::Tell(TELL)).unwrap();
    carry(&mut other, &mut b, &tell, START + FRESH);
    let tell = one.seal(B, &Message::Tell(TELL)).unwrap();
    let ask = answer(b.open(&tell, START + FRESH * 2)).unwrap();
    let echo = answer(one.open(&ask, START + FRESH * 2)).unwrap();
    assert_eq!(b.open(&echo, START + FRESH * 2), Err(Refusal::SameName));
    let tell = other.seal(B, &Message::Tell(TELL)).unwrap();
    assert!(is_message(&b.open(&tell, START + FRESH * 2)));
}

#[test]
fn a_node_that_was_away_from_the_link_is_introduced_again() {
    let (mut a, mut b) = pair();
    let recorded = a.seal(B, &Message::Tell(TELL)).unwrap();
    assert!(is_message(&b.open(&recorded, START)));
    for _ in 0..3 {
        a.set_peers(&[(C, name("node-c"))].into());
        a.set_peers(&everybody());
        assert!(!a.knows(B));
        let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
        carry(&mut a, &mut b, &tell, START + FRESH);
        assert!(a.knows(B));
        let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
        assert!(is_message(&b.open(&tell, START + FRESH)));
        assert!(b.open(&recorded, START + FRESH).is_err());
    }
}

#[test]
fn a_stranger_that_goes_on_gets_a_few_hellos_a_second() {
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    let mut answers = 0;
    for millisecond in 0..3000 {
        let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
        match b.open(&tell, START + Duration::from_millis(millisecond)) {
            Ok(Opened::Introduction { answer: Some(_), .. }) => answers += 1,
            other => assert_eq!(other, Err(Refusal::Hushed)),
        }
    }
    assert_eq!(answers, 12);
    // One recorded hello, played again and again.
    let tell = b.seal(A, &Message::Tell(TELL)).unwrap();
    let hello = answer(a.open(&tell, START)).unwrap();
    let opened: Vec<_> = (0..1000)
        .map(|n| b.open(&hello, START + Duration::from_secs(10) + Duration::from_micros(n)))
        .collect();
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 8);
    assert!(opened.iter().all(|opened| opened.is_ok() || *opened == Err(Refusal::Hushed)));
}

proptest! {
    /// Datagrams arrive in any order, some never, some several times: each is accepted once at most, and always unless 64
    /// later ones came before it.
    #[test]
    fn any_order_within_the_window_and_each_once(order in proptest::collection::vec(0usize..200, 1..600)) {
        let (mut a, mut b) = pair();
        let datagrams: Vec<_> = (0..200).map(|_| a.seal(B, &Message::Tell(TELL)).unwrap()).collect();
        let mut accepted = BTreeSet::new();
        let mut highest = 0;
        for n in order {
            let opened = b.open(&datagrams[n], START);
            let expected = if n + 64 <= highest {
                Err(Refusal::Late)
            } else if accepted.insert(n) {
                Ok(Opened::Message { from: A, message: Message::Tell(TELL) })
            } else {
                Err(Refusal::Replayed)
            };
            prop_assert_eq!(opened, expected);
            highest = highest.max(n);
        }
    }

    /// Introductions between nodes that restart, over a network that loses, repeats, delays and reorders: in the end they
    /// know each other, and until then nothing of a former life is accepted.
    #[test]
    fn they_become_acquainted_over_any_network(events in proptest::collection::vec((0u8..8, any::<proptest::sample::Index>(), 0u64..400), 0..200)) {
        let mut nodes = [channel("node-a", 1), channel("node-b", 2)];
        let mut lives = [1, 2];
        let mut now = START;
        // Every datagram that was ever sent: to whom, from which life and to which, and its bytes.
        let mut wire: Vec<(usize, u64, Vec<u8>)> = Vec::new();
        for (event, index, wait) in events {
            now += Duration::from_millis(wait);
            let node = index.index(2);
            match event {
                0 => {
                    lives[node] += 2;
                    nodes[node] = channel(["node-a", "node-b"][node], lives[node]);
                }
                1 | 2 => {
                    let to = [B, A][node];
                    wire.push((1 - node, lives[node], nodes[node].seal(to, &Message::Tell(TELL)).unwrap()));
                }
                _ if !wire.is_empty() => {
                    let (to, life, datagram) = wire[index.index(wire.len())].clone();
                    match nodes[to].open(&datagram, now) {
                        Ok(Opened::Introduction { answer: Some(answer), .. }) => wire.push((1 - to, lives[to], answer)),
                        // A life that has ended is still the present one for who has not heard of another.
                        Ok(Opened::Message { .. }) => prop_assert!(nodes[to].peers.values().any(|peer| peer.life.is(life))),
                        Ok(_) | Err(Refusal::Replayed | Refusal::Late | Refusal::Hushed) => {}
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                _ => {}
            }
        }
        now += FRESH * 2;
        let [a, b] = &mut nodes;
        let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
        if !is_message(&b.open(&tell, now)) {
            let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
            carry(a, b, &tell, now + FRESH);
            let tell = a.seal(B, &Message::Tell(TELL)).unwrap();
            prop_assert!(is_message(&b.open(&tell, now + FRESH)));
        }
    }
}
