use super::*;

const MS: Duration = Duration::from_millis(1);
const PROFILE: Profile = Profile::DEFAULT;

/// Sends these, 10 ms apart; the time after the last.
fn send(session: &mut Session, nonces: std::ops::Range<u32>) -> Duration {
    for nonce in nonces.clone() {
        session.sent(nonce, MS * 10 * nonce);
    }
    MS * 10 * nonces.end
}

#[test]
fn names_are_unique() {
    let names = Status::ALL.map(Status::name);
    assert_eq!(std::collections::BTreeSet::from(names).len(), Status::ALL.len());
}

#[test]
fn a_probe_that_a_later_reply_has_overtaken_is_lost() {
    let mut session = Session::new(true, Duration::ZERO);
    let now = send(&mut session, 0..5);
    session.reply(1, Remote::Up, now).unwrap();
    assert_eq!(session.traffic().lost, 1);
    session.reply(2, Remote::Up, now).unwrap();
    session.reply(4, Remote::Up, now).unwrap();
    let Traffic { sent, replies, lost, .. } = session.traffic();
    assert_eq!((sent, replies, lost), (5, 3, 2));
    assert_eq!(session.reply(3, Remote::Up, now), None, "what comes too late stays lost");
}

#[test]
fn probes_without_any_reply_are_lost_once_they_are_forgotten() {
    let mut session = Session::new(false, Duration::ZERO);
    send(&mut session, 0..20);
    assert_eq!(session.traffic().lost, 20 - u64::try_from(REMEMBERED).unwrap());
}

#[test]
fn who_is_down_loses_nothing() {
    for told in [false, true] {
        let mut session = Session::new(true, Duration::ZERO);
        session.status = Status::Down;
        let now = send(&mut session, 0..20);
        session.last_sent = now;
        assert_eq!(session.traffic().lost, 0);
        if told {
            // It says that it is there before it replies.
            session.told(Remote::Up).unwrap();
        }
        session.reply(19, Remote::Up, now).unwrap();
        assert_eq!(session.traffic().lost, 0, "nor when it is back");
        session.sent(20, now + MS);
        session.sent(21, now + MS);
        session.reply(21, Remote::Up, now + MS * 2).unwrap();
        assert_eq!(session.traffic().lost, 1);
    }
}

#[test]
fn round_trips_have_extremes() {
    let mut session = Session::new(true, Duration::ZERO);
    assert_eq!(session.traffic().extremes, None);
    for (nonce, took) in [(1, 4), (2, 2), (3, 12)] {
        session.sent(nonce, MS);
        session.reply(nonce, Remote::Up, MS * (1 + took)).unwrap();
    }
    assert_eq!(session.traffic().extremes, Some((MS * 2, MS * 12)));
    // 4, then an eighth of 2, then an eighth of 12.
    assert_eq!(session.traffic().round_trip, Some(Duration::from_nanos(4_781_250)));
}

/// Probes that are sent in a time, none of them answered.
fn vain(session: &mut Session, from: Duration, to: Duration) -> u32 {
    let mut now = from;
    let mut sent = 0;
    while now < to {
        if session.poll(&PROFILE, now).probe {
            sent += 1;
            session.sent(sent, now);
        }
        now = session.due(&PROFILE).max(now + Duration::from_micros(100));
    }
    sent
}

#[test]
fn who_stays_away_is_probed_seldom_until_it_is_heard() {
    let second = Duration::from_secs(1);
    for (proven, often) in [(true, 200), (false, 100)] {
        let mut session = Session::new(proven, Duration::ZERO);
        vain(&mut session, Duration::ZERO, second);
        assert_eq!(vain(&mut session, second, second * 2), often, "{proven}");
        assert_eq!(session.interval(&PROFILE), second / often);
        vain(&mut session, second * 2, second * 20);
        assert_eq!(vain(&mut session, second * 20, second * 21), 20, "{proven}");
        assert_eq!(session.interval(&PROFILE), MS * 50);
        assert!(session.is_given_up());

        let now = second * 21;
        session.poll(&PROFILE, now);
        session.sent(u32::MAX, now);
        assert!(session.reply(u32::MAX, Remote::Up, now).is_some());
        assert!(!session.is_given_up());
        assert!(session.due(&PROFILE) <= now + SELDOM, "{proven}");
    }
}
