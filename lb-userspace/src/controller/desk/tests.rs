use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_core::{
    addresses::Addresses,
    ids::{PoolName, ServiceKey},
};
use prometheus_client::registry::Registry;
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::{
    controller::{
        outcome::Change,
        tell::{Reason, Subject},
    },
    k8s::{crd::IPAddressPoolStatus, watch},
    source::kubernetes::{Kind, ObjectName},
};

const SECOND: Duration = Duration::from_secs(1);

/// What the API server is to do with a write.
type Script = fn(&Write) -> (Duration, Result<(), WriteError>);

/// An API server that notes what was started and what was carried out.
#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Api for Fake {
    async fn carry_out(&self, write: &Write) -> Result<Seen, WriteError> {
        self.note(format!("> {}", name(write)));
        let (time, result) = (self.script.lock().unwrap())(write);
        sleep(time).await;
        self.note(format!("< {}", name(write)));
        result.map(|()| Seen::Service(watch::Change::Applied(None)))
    }

    async fn record(&self, telling: &Telling) -> Result<(), WriteError> {
        self.note(format!("event {}", telling.note));
        let write = service("event", "1", &[], Some("192.0.2.99"));
        (self.script.lock().unwrap())(&write).1
    }
}

fn name(write: &Write) -> String {
    let what = match write {
        Write::Service { change: Change::Set { addresses, .. }, .. } => format!("={addresses}"),
        Write::Service { change: Change::Clear, .. } => "=".to_owned(),
        Write::Service { .. } | Write::Pool { .. } | Write::State { .. } => String::new(),
    };
    format!("{}{what}", write.target())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A write to the Service `web/name` of this version, which shows `before`: an address or none.
fn service(name: &str, version: &str, before: &[&str], after: Option<&str>) -> Write {
    let pool = PoolName::new("p").unwrap();
    Write::Service {
        key: ServiceKey::new("web", name).unwrap(),
        version: version.into(),
        before: before.iter().map(|text| ip(text)).collect(),
        change: after
            .map_or(Change::Clear, |after| Change::Set { addresses: Addresses::one(ip(after)), pool }),
    }
}

fn counters(assigned: i64) -> Write {
    let name = ObjectName { kind: Kind::Pool, namespace: "m".to_owned(), name: "p".to_owned() };
    Write::Pool { name, status: IPAddressPoolStatus { assigned_ipv4: assigned, ..Default::default() } }
}

fn telling(note: &str) -> Telling {
    Telling {
        subject: Subject::Service(ServiceKey::new("web", "a").unwrap()),
        uid: "u".into(),
        reason: Reason::AllocationFailed,
        note: note.to_owned(),
    }
}

/// A desk, its API server, and the switch of its permit.
fn desk(script: Script) -> (Desk<Fake>, Fake, Arc<Mutex<Option<Instant>>>) {
    let fake = Fake { script: Arc::new(Mutex::new(script)), log: Arc::default() };
    let permit = Arc::new(Mutex::new(Some(Instant::now() + 1000 * SECOND)));
    let asked = Arc::clone(&permit);
    let until = Box::new(move || asked.lock().unwrap().filter(|until: &Instant| *until > Instant::now()));
    (Desk::new(fake.clone(), until, Metrics::new(&mut Registry::default())), fake, permit)
}

fn well(_write: &Write) -> (Duration, Result<(), WriteError>) {
    (SECOND, Ok(()))
}

/// Lets the desk work for so long; returns what came back, as text.
async fn run(desk: &mut Desk<Fake>, long: Duration) -> Vec<String> {
    let end = Instant::now() + long;
    let mut landed = Vec::new();
    while let Ok(one) = timeout(end - Instant::now(), desk.next()).await {
        let result = one.result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned());
        landed.push(format!("{} {result}", name(&one.write)));
    }
    landed
}

#[tokio::test(start_paused = true)]
async fn sixteen_at_once_and_one_for_each_object() {
    let (mut desk, fake, _permit) = desk(well);
    let all = |version: &str| {
        let version = version.to_owned();
        (0..20).map(move |number| {
            service(&format!("s{number}"), &version, &[], Some(&format!("192.0.2.{number}")))
        })
    };
    desk.want(all("1"));
    assert!(timeout(SECOND / 2, desk.next()).await.is_err());
    assert_eq!(fake.taken().len(), 16);
    // Another pass asks for newer versions: those under way are not written twice meanwhile.
    desk.want(all("2"));
    assert!(timeout(SECOND / 4, desk.next()).await.is_err());
    assert_eq!(fake.taken().len(), 0);
    assert_eq!(run(&mut desk, 10 * SECOND).await.len(), 36);
    assert!(desk.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_without_a_permit_or_goes_on_after_it() {
    let (mut desk, fake, permit) = desk(well);
    *permit.lock().unwrap() = None;
    desk.want([service("a", "1", &[], Some("192.0.2.1"))]);
    desk.tell([telling("x")]);
    assert_eq!(run(&mut desk, 10 * SECOND).await, Vec::<String>::new());
    assert_eq!(fake.taken(), Vec::<String>::new());
    *permit.lock().unwrap() = Some(Instant::now() + SECOND / 2);
    assert_eq!(run(&mut desk, SECOND * 3).await, ["Service web/a=192.0.2.1 Timeout"]);
    assert_eq!(fake.taken(), ["> Service web/a=192.0.2.1", "event x"], "the write was cut off");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_waits_for_another_version_or_a_while() {
    let (mut desk, fake, _permit) = desk(|_| (Duration::ZERO, Err(WriteError::Conflict)));
    let write = || service("a", "1", &[], Some("192.0.2.1"));
    desk.want([write()]);
    assert_eq!(run(&mut desk, SECOND / 10).await.len(), 1);
    desk.want([write()]);
    assert_eq!(run(&mut desk, SECOND / 10).await.len(), 0, "the same is not tried again at once");
    desk.want([service("a", "2", &[], Some("192.0.2.1"))]);
    assert_eq!(run(&mut desk, SECOND / 10).await.len(), 1, "another version is");
    fake.taken();
    desk.want([service("a", "2", &[], Some("192.0.2.1"))]);
    assert_eq!(run(&mut desk, SECOND).await.len(), 1, "half a second after the second");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_waits_long_and_holds_nobody_up() {
    let refused = |write: &Write| {
        let source = Box::default();
        let forbidden = Err(WriteError::Forbidden { code: 403, source });
        (Duration::ZERO, if name(write).contains("/a") { forbidden } else { Ok(()) })
    };
    // 5, 10, 20, 40, 80, 160 and then 300 s apart; if the object changes all the time, 30 s at most.
    for (changes, expected) in [(false, 7), (true, 22)] {
        let (mut desk, fake, _permit) = desk(refused);
        desk.tell([telling("x")]);
        let mut tries = 0;
        for round in 0..600 {
            let version = if changes { round.to_string() } else { "1".to_owned() };
            desk.want([
                service("a", &version, &[], Some("192.0.2.1")),
                service("b", &round.to_string(), &[], Some(&format!("192.0.2.{}", round % 200 + 2))),
            ]);
            tries += run(&mut desk, SECOND).await.iter().filter(|line| line.contains("/a")).count();
        }
        assert_eq!(tries, expected);
        let log = fake.taken();
        assert!(log.len() > 1200, "the other is written all the time");
        assert!(log.contains(&"event x".to_owned()), "events are not held up");
    }
}

/// A webhook of one namespace that gives no answer must not hold up the others.
#[tokio::test(start_paused = true)]
async fn many_slow_failures_hold_up_nobody() {
    let slow = |write: &Write| {
        let is_slow = name(write).contains("/a");
        (if is_slow { 100 * SECOND } else { Duration::ZERO }, Ok(()))
    };
    let (mut desk, _fake, _permit) = desk(slow);
    let slow_ones =
        || (0..200).map(|n| service(&format!("a{n:03}"), "1", &[], Some(&format!("192.0.2.{n}"))));
    desk.want(slow_ones());
    run(&mut desk, 300 * SECOND).await;
    for round in 0..50 {
        let good = service("z", &round.to_string(), &[], Some(&format!("198.51.100.{round}")));
        desk.want(slow_ones().chain([good]));
        let landed = run(&mut desk, SECOND).await;
        let written = landed.iter().any(|line| line.contains("/z") && line.ends_with("ok"));
        assert!(written, "round {round}: {landed:?}");
    }
}

/// Something else undoes what is written: that is put right once, and then ever less often.
#[tokio::test(start_paused = true)]
async fn what_is_undone_again_and_again_is_not_written_without_end() {
    let (mut desk, fake, _permit) = desk(|_| (Duration::ZERO, Ok(())));
    for round in 0..6000 {
        desk.want([service("a", &round.to_string(), &[], Some("192.0.2.1"))]);
        run(&mut desk, SECOND / 10).await;
    }
    // At 0 and 0.1 s, then 1, 2, 4, 8, 16, 32 and 60 s apart, for ten minutes.
    let writes = fake.taken().len() / 2;
    assert!((14..=18).contains(&writes), "{writes}");
    desk.want([service("a", "x", &["192.0.2.1"], Some("192.0.2.2"))]);
    assert_eq!(run(&mut desk, SECOND / 10).await.len(), 1, "something else is written at once");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_asked_ever_less_often() {
    let busy = |_: &Write| (Duration::ZERO, Err(WriteError::Busy { code: 503, source: Box::default() }));
    let (mut desk, fake, _permit) = desk(busy);
    let writes = || ["a", "b"].map(|name| service(name, "1", &[], Some("192.0.2.1")));
    for _ in 0..40 {
        desk.want(writes());
        run(&mut desk, SECOND).await;
    }
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5 s, two writes of two lines each.
    assert!((6 * 4..=8 * 4).contains(&fake.taken().len()));
    *fake.script.lock().unwrap() = |_| (Duration::ZERO, Ok(()));
    desk.want(writes());
    run(&mut desk, 10 * SECOND).await;
    desk.want(writes());
    assert_eq!(run(&mut desk, SECOND / 10).await.len(), 2, "a success ends the pause");
}

#[tokio::test(start_paused = true)]
async fn counters_are_written_once_a_second() {
    let (mut desk, _fake, _permit) = desk(|_| (Duration::ZERO, Ok(())));
    let mut written = 0;
    for number in 0..40 {
        desk.want([counters(number)]);
        written += run(&mut desk, SECOND / 10).await.len();
    }
    assert!((4..=5).contains(&written), "{written}");
}

#[tokio::test(start_paused = true)]
async fn events_come_after_writes_and_are_tried_three_times() {
    let (mut desk, fake, _permit) = desk(well);
    desk.tell([telling("x")]);
    desk.want([service("a", "1", &[], Some("192.0.2.1"))]);
    run(&mut desk, 2 * SECOND).await;
    assert_eq!(fake.taken()[..2], ["> Service web/a=192.0.2.1", "event x"]);
    *fake.script.lock().unwrap() = |_| (Duration::ZERO, Err(WriteError::Timeout));
    desk.tell([telling("y")]);
    run(&mut desk, 100 * SECOND).await;
    assert_eq!(fake.taken(), ["event y"; 3]);
    *fake.script.lock().unwrap() = |_| (Duration::ZERO, Err(WriteError::Gone));
    desk.clear();
    desk.tell((0..20_000).map(|number| telling(&number.to_string())));
    run(&mut desk, 100 * SECOND).await;
    assert_eq!(fake.taken().len(), WAITING_EVENTS, "each once");
}

#[tokio::test(start_paused = true)]
async fn an_address_leaves_one_status_before_it_comes_into_another() {
    for [x, y, z] in [["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]]
    {
        let (mut desk, fake, _permit) = desk(well);
        let chain = || {
            [
                service("a", "1", &[], Some(x)),
                service("b", "1", &[x], Some(y)),
                service("c", "1", &[y], Some(z)),
            ]
        };
        desk.want(chain());
        run(&mut desk, 10 * SECOND).await;
        let [a, b, c] = [("a", x), ("b", y), ("c", z)].map(|(name, ip)| format!("Service web/{name}={ip}"));
        let expected = [
            format!("> {c}"),
            format!("< {c}"),
            format!("> {b}"),
            format!("< {b}"),
            format!("> {a}"),
            format!("< {a}"),
        ];
        assert_eq!(fake.taken(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_begins_with_giving_up() {
    let (mut desk, fake, _permit) = desk(well);
    let [x, y] = ["192.0.2.1", "192.0.2.2"];
    desk.want([service("a", "1", &[x], Some(y)), service("b", "1", &[y], Some(x))]);
    run(&mut desk, SECOND * 3 / 2).await;
    assert_eq!(fake.taken()[..3], ["> Service web/a=", "< Service web/a=", "> Service web/b=192.0.2.1"]);
    desk.want([service("a", "2", &[], Some(y)), service("b", "1", &[y], Some(x))]);
    run(&mut desk, 5 * SECOND).await;
    assert_eq!(
        fake.taken(),
        ["< Service web/b=192.0.2.1", "> Service web/a=192.0.2.2", "< Service web/a=192.0.2.2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_been_carried_out_keeps_its_address() {
    let lost = |write: &Write| {
        (100 * SECOND, if name(write).contains("/a") { Err(WriteError::Timeout) } else { Ok(()) })
    };
    let (mut desk, fake, _permit) = desk(lost);
    let x = "192.0.2.1";
    desk.want([service("a", "1", &[], Some(x))]);
    assert_eq!(run(&mut desk, 6 * SECOND).await, ["Service web/a=192.0.2.1 Timeout"]);
    *fake.script.lock().unwrap() = well;
    fake.taken();
    // Now b is to have it, and a nothing.
    let pass = || [service("b", "1", &[], Some(x))];
    desk.want(pass());
    assert_eq!(run(&mut desk, 50 * SECOND).await, Vec::<String>::new());
    desk.want(pass());
    assert_eq!(run(&mut desk, 20 * SECOND).await, ["Service web/b=192.0.2.1 ok"]);
    // A later version of a is proof that it was not.
    *fake.script.lock().unwrap() = lost;
    desk.want([service("a", "2", &[], Some("192.0.2.2"))]);
    run(&mut desk, 6 * SECOND).await;
    *fake.script.lock().unwrap() = well;
    desk.want([service("a", "3", &[], Some("192.0.2.3")), service("b", "2", &[], Some("192.0.2.2"))]);
    assert_eq!(run(&mut desk, 12 * SECOND).await.len(), 2);
}

/// b may have got z; it shows x, and a, which shows y, is to have z now. To take y from a would help nobody.
#[tokio::test(start_paused = true)]
async fn a_doubt_is_waited_for_and_takes_nothing_from_others() {
    let [x, y, z] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let (mut desk, fake, _permit) = desk(|_| (100 * SECOND, Ok(())));
    desk.want([service("b", "1", &[x], Some(z))]);
    assert_eq!(run(&mut desk, 6 * SECOND).await.len(), 1);
    *fake.script.lock().unwrap() = |_| (Duration::ZERO, Ok(()));
    fake.taken();
    let a = || service("a", "1", &[y], Some(z));
    desk.want([a()]);
    assert_eq!(run(&mut desk, 10 * SECOND).await, Vec::<String>::new());
    assert_eq!(fake.taken(), Vec::<String>::new());
    // The version it was for is still there, and then no more.
    desk.know(|target| (target.to_string() == "Service web/b").then_some("1"));
    desk.want([a()]);
    assert_eq!(run(&mut desk, SECOND).await, Vec::<String>::new());
    desk.know(|_| None);
    desk.want([a()]);
    assert_eq!(run(&mut desk, SECOND).await, ["Service web/a=192.0.2.3 ok"]);
}

#[tokio::test(start_paused = true)]
async fn giving_up_ends_what_is_under_way() {
    let (mut desk, fake, _permit) = desk(well);
    desk.want([service("a", "1", &[], Some("192.0.2.1"))]);
    assert!(timeout(SECOND / 2, desk.next()).await.is_err());
    desk.clear();
    advance(10 * SECOND).await;
    assert_eq!(run(&mut desk, SECOND).await, Vec::<String>::new());
    assert_eq!(fake.taken(), ["> Service web/a=192.0.2.1"]);
    assert!(desk.is_empty());
}
