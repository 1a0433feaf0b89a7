use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{advance, sleep, timeout};
use tracing::Level;

use super::*;
use crate::k8s::lease::{Fault, Loss, Memory, Record};

mod simulation;

const SECOND: Duration = Duration::from_secs(1);
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

fn settings(identity: &str) -> Settings {
    Settings::new("metallb-system", identity)
}

fn key() -> LeaseKey {
    settings("").lease
}

fn start(store: &Memory, identity: &str) -> (Leadership, Leader) {
    Leader::start(store.handle(), settings(identity))
}

fn standby(leader: &str) -> Standing {
    Standing::Standby { leader: (!leader.is_empty()).then(|| leader.to_owned()) }
}

const fn slow(before: Duration) -> Fault {
    Fault { before, after: Duration::ZERO, loss: Loss::Nothing, refuse: None }
}

/// Waits until it has the standing, and tells how long that took.
async fn becomes(leadership: &mut Leadership, wanted: &Standing) -> Duration {
    let start = Instant::now();
    while leadership.standing() != *wanted {
        let changed = timeout(Duration::from_mins(5), leadership.changed()).await;
        assert!(changed.is_ok(), "still {:?} instead of {wanted:?}", leadership.standing());
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_waits() {
    let store = Memory::new();
    let (mut a, _a) = start(&store, "a");
    let (mut b, _b) = start(&store, "b");
    assert_eq!(a.permit(), None, "nothing is known yet");
    assert_eq!(a.standing(), standby(""));
    assert!(becomes(&mut a, &Standing::Leading { term: 1 }).await < SECOND);
    becomes(&mut b, &standby("a")).await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(a.permit().map(|permit| permit.term), Some(1), "renewed all the time");
    assert_eq!(b.permit(), None);
    let left = a.permit().unwrap().until - Instant::now();
    assert!(left > 7 * SECOND && left <= 10 * SECOND, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_in_peace_writes_once_every_retry_period_and_reads_nothing() {
    let store = Memory::new();
    let connection = store.handle();
    let (mut a, _a) = Leader::start(connection.clone(), settings("a"));
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    connection.asked();
    sleep(Duration::from_mins(1)).await;
    let asked = connection.asked();
    assert!(asked.iter().all(|verb| *verb == Verb::Replace), "{asked:?}");
    assert!((29..=31).contains(&asked.len()), "{}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn the_standby_takes_over_a_lease_that_is_given_back() {
    let store = Memory::new();
    let (mut a, leader) = start(&store, "a");
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    let (mut b, _b) = start(&store, "b");
    becomes(&mut b, &standby("a")).await;
    assert_eq!(leader.release().await.unwrap(), Release::GivenBack);
    assert_eq!(a.permit(), None);
    let record = store.get(&key()).unwrap().record;
    assert_eq!((record.holder.as_str(), record.duration_seconds), ("", Some(1)));
    assert!(becomes(&mut b, &Standing::Leading { term: 1 }).await <= 2 * SECOND);
    assert_eq!(store.get(&key()).unwrap().record.transitions, 1);
}

#[tokio::test(start_paused = true)]
async fn the_standby_takes_over_from_a_leader_that_died() {
    let store = Memory::new();
    let (mut a, leader) = start(&store, "a");
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    let (mut b, _b) = start(&store, "b");
    becomes(&mut b, &standby("a")).await;
    sleep(Duration::from_secs(33)).await;
    leader.task.abort();
    let waited = becomes(&mut b, &Standing::Leading { term: 1 }).await;
    assert!(waited > 13 * SECOND && waited <= 19 * SECOND, "{waited:?}");
    assert_eq!(a.permit(), None);
    assert_eq!(a.standing(), standby(""));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_leader_does_not_lead() {
    let store = Memory::new();
    let (mut a, leader) = start(&store, "a");
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    drop(leader);
    assert!(becomes(&mut a, &standby("")).await < SECOND);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(store.get(&key()).unwrap().record.holder, "a", "left to run out");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_hold_the_lease_leaves_it_alone() {
    let store = Memory::new();
    let (mut a, _a) = start(&store, "a");
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    let (mut b, leader) = start(&store, "b");
    becomes(&mut b, &standby("a")).await;
    assert_eq!(leader.release().await.unwrap(), Release::NotHeld);
    assert_eq!(store.get(&key()).unwrap().record.holder, "a");
}

#[tokio::test(start_paused = true)]
async fn giving_back_takes_five_seconds_at_most_and_says_why_it_failed() {
    for (fault, expected) in [
        (slow(FOR_EVER), Cause::Timeout),
        (Fault { refuse: Some(403), ..Fault::default() }, Cause::Status(403)),
    ] {
        let store = Memory::new();
        let connection = store.handle();
        let (mut a, leader) = Leader::start(connection.clone(), settings("a"));
        becomes(&mut a, &Standing::Leading { term: 1 }).await;
        connection.always(fault);
        let begin = Instant::now();
        let Err(ReleaseError::Lease(error)) = leader.release().await else { panic!("{fault:?}") };
        assert_eq!(error.cause(), expected);
        assert!(begin.elapsed() <= 5 * SECOND, "{:?}", begin.elapsed());
        assert_eq!(a.permit(), None);
    }
}

/// The renewal was on its way when the process was told to end, and arrives in between.
#[tokio::test(start_paused = true)]
async fn a_renewal_on_its_way_does_not_undo_giving_back() {
    for late in [0, 10, 50, 100, 150, 1_000] {
        let store = Memory::new();
        let connection = store.handle();
        let (mut a, leader) = Leader::start(connection.clone(), settings("a"));
        becomes(&mut a, &Standing::Leading { term: 1 }).await;
        connection.next([slow(Duration::from_millis(late))]);
        connection.always(slow(Duration::from_millis(60)));
        sleep(2 * SECOND).await;
        assert_eq!(leader.release().await.unwrap(), Release::GivenBack, "{late} ms");
        sleep(5 * SECOND).await;
        assert_eq!(store.get(&key()).unwrap().record.holder, "", "{late} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_mute_ends_the_term_in_time_and_another_begins_when_it_is_well() {
    let store = Memory::new();
    let connection = store.handle();
    let (mut a, _a) = Leader::start(connection.clone(), settings("a"));
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    sleep(2 * SECOND + Duration::from_millis(1)).await;
    connection.always(slow(FOR_EVER));
    let until = a.permit().unwrap().until;
    becomes(&mut a, &standby("")).await;
    assert!(Instant::now() >= until && Instant::now() < until + SECOND, "neither earlier nor later");
    sleep(Duration::from_mins(2)).await;
    connection.always(Fault::default());
    assert!(becomes(&mut a, &Standing::Leading { term: 2 }).await <= 7 * SECOND);
}

/// A third of the renewals is lost, or their answers: one that gets through in time is enough.
#[tokio::test(start_paused = true)]
async fn single_losses_do_not_end_a_term() {
    let store = Memory::new();
    let connection = store.handle();
    let (mut a, _a) = Leader::start(connection.clone(), settings("a"));
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    let lost = |loss| Fault { loss, ..Fault::default() };
    let well = Fault::default();
    for round in 0..60 {
        let loss = if round % 2 == 0 { Loss::Request } else { Loss::Answer };
        connection.next([lost(loss), well, well]);
        sleep(7 * SECOND).await;
        assert_eq!(a.permit().map(|permit| permit.term), Some(1), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_ends_although_the_task_hangs() {
    let store = Memory::new();
    let (mut a, task) = Task::new(store.handle(), settings("a"), Clocks::default());
    let (_stop, stopped) = oneshot::channel();
    let mut running = Box::pin(task.run(stopped));
    // It runs only while this test waits for it.
    assert!(timeout(SECOND, &mut running).await.is_err());
    let until = a.permit().unwrap().until;
    a.changed().await;
    a.changed().await;
    assert_eq!((a.standing(), a.permit()), (standby(""), None));
    assert!(Instant::now() < until + SECOND, "told in time");
    assert!(timeout(SECOND, &mut running).await.is_err());
    assert_eq!(a.permit().map(|permit| permit.term), Some(2), "it hung, and is well again");
}

/// The monotonic clock does not count the time in suspend.
#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_does_not_lead() {
    let store = Memory::new();
    let boot = Arc::new(AtomicU64::new(5));
    let reading = Arc::clone(&boot);
    let clocks = Clocks { boot_ns: Arc::new(move || reading.load(Ordering::SeqCst)), ..Clocks::default() };
    let (mut a, task) = Task::new(store.handle(), settings("a"), clocks);
    let (_stop, stopped) = oneshot::channel();
    let _task = tokio::spawn(task.run(stopped));
    becomes(&mut a, &Standing::Leading { term: 1 }).await;
    boot.fetch_add(nanoseconds(11 * SECOND), Ordering::SeqCst);
    assert_eq!(a.permit(), None);
    assert_eq!(a.standing(), standby(""));
    advance(2 * SECOND).await;
    becomes(&mut a, &Standing::Leading { term: 2 }).await;
}

#[tokio::test(start_paused = true)]
async fn tells_when_the_task_has_ended_by_itself() {
    let store = Memory::new();
    let (_a, mut leader) = start(&store, "a");
    assert!(timeout(Duration::from_mins(1), leader.ended()).await.is_err(), "it works");
    leader.task.abort();
    assert!(timeout(SECOND, leader.ended()).await.is_ok());
    assert!(matches!(leader.release().await, Err(ReleaseError::Ended(_))));
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_to_every_clone_and_renewals_to_none() {
    let store = Memory::new();
    let (mut a, leader) = start(&store, "a");
    let mut clone = a.clone();
    a.changed().await;
    clone.changed().await;
    assert_eq!(clone.standing(), Standing::Leading { term: 1 });
    assert!(timeout(Duration::from_mins(1), a.changed()).await.is_err(), "only renewals");
    drop(leader);
    a.changed().await;
    clone.changed().await;
    assert_eq!((a.permit(), clone.permit()), (None, None));
    assert!(timeout(Duration::from_mins(1), a.changed()).await.is_err(), "nothing more will come");
}

/// What the log was told while something ran: level and text.
async fn logged(run: impl Future<Output = ()>) -> Vec<(Level, String)> {
    // A call site is judged for all threads by the only subscriber there is, as long as it is the only one.
    let _second = tracing::Dispatch::new(Log::default());
    let log = Log::default();
    let lines = Arc::clone(&log.0);
    let _guard = tracing::subscriber::set_default(log);
    run.await;
    lines.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn the_log_is_told_of_leading_of_holders_and_of_each_cause_once() {
    let store = Memory::new();
    let connection = store.handle();
    let lines = logged(async {
        store
            .set(&key(), &Record { duration_seconds: Some(15), holder: "b".to_owned(), ..Record::default() });
        let (mut a, leader) = Leader::start(connection.clone(), settings("a"));
        becomes(&mut a, &Standing::Leading { term: 1 }).await;
        connection.always(Fault { refuse: Some(503), ..Fault::default() });
        sleep(Duration::from_secs(5)).await;
        connection.always(Fault { refuse: Some(403), ..Fault::default() });
        becomes(&mut a, &standby("")).await;
        sleep(Duration::from_mins(1)).await;
        connection.always(Fault::default());
        becomes(&mut a, &Standing::Leading { term: 2 }).await;
        leader.release().await.unwrap();
    })
    .await;
    let lines: Vec<String> = lines.iter().map(|(level, text)| format!("{level} {text}")).collect();
    let lease = "lease=metallb-system/barelb-controller";
    let expected = [
        format!("INFO another one leads {lease} leader=b"),
        format!("INFO leading {lease} identity=a term=1"),
        format!(
            "WARN the lease can't be renewed, trying again {lease} error=the API server refuses it (503): see its log"
        ),
        format!(
            "WARN the lease can't be renewed, trying again {lease} error=the API server does not permit it (403): the \
             ServiceAccount needs get, create and update on leases.coordination.k8s.io in this namespace"
        ),
        format!("INFO no longer leading {lease} term=1 reason=the lease was not renewed in time"),
        format!("INFO the lease can be read and written again {lease}"),
        format!("INFO leading {lease} identity=a term=2"),
        format!("INFO no longer leading {lease} term=2 reason=the lease is given up"),
    ];
    assert_eq!(lines, expected);
}

/// Keeps what is logged at INFO and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("lb_userspace::controller")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }

    fn record_error(&mut self, field: &tracing::field::Field, value: &(dyn std::error::Error + 'static)) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}
