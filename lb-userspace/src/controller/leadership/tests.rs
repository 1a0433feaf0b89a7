use super::*;
use crate::k8s::lease::{Cause, LeaseKey, LeaseStore, Memory};

const A: &str = "a_1";
const B: &str = "b_2";

/// A candidate, leases in memory that answer at once, and a clock that only the test moves.
struct Bench {
    start: Instant,
    now: Instant,
    wall: i64,
    key: LeaseKey,
    store: Memory,
    election: Election,
}

impl Bench {
    fn new(identity: &str) -> Self {
        let start = Instant::now();
        let key = LeaseKey { namespace: "metallb-system".to_owned(), name: "barelb-controller".to_owned() };
        let election = Election::new(identity, Timing::default(), start);
        Self { start, now: start, wall: 1_000_000_000, key, store: Memory::new(), election }
    }

    /// Moves the clock to so many milliseconds after the start.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn step(&mut self) -> Step {
        self.election.step(self.now, WallTime(self.wall))
    }

    /// Does what the candidate asks for until it waits; returns until when, in milliseconds.
    async fn settle(&mut self) -> u128 {
        loop {
            match self.step() {
                Step::Wait(at) => return (at - self.start).as_millis(),
                Step::Ask { request, .. } => {
                    let answer = self.carry_out(&request).await;
                    self.election.answered(self.now, self.now, answer);
                }
            }
        }
    }

    async fn carry_out(&self, request: &Request) -> Result<Option<Stored>, Failure> {
        let answer = match request {
            Request::Read => self.store.read(&self.key).await,
            Request::Create(record) => self.store.create(&self.key, record).await.map(Some),
            Request::Replace(revision, record) => {
                self.store.replace(&self.key, revision, record).await.map(Some)
            }
        };
        answer.map_err(
            |error| {
                if error.cause() == Cause::Conflict { Failure::Conflict } else { Failure::Other }
            },
        )
    }

    /// Asks, and gets no answer until the time is over; returns until when it would have waited, in milliseconds.
    fn fails(&mut self) -> u128 {
        let Step::Ask { deadline, .. } = self.step() else { panic!("nothing asked") };
        let started = self.now;
        self.now = deadline;
        self.election.answered(started, self.now, Err(Failure::Other));
        (deadline - self.start).as_millis()
    }

    fn record(&self) -> Record {
        self.store.get(&self.key).unwrap().record
    }

    fn hold(&self, record: &Record) {
        self.store.set(&self.key, record);
    }

    fn term(&self) -> Option<u64> {
        self.election.permit(self.now).map(|permit| permit.term)
    }

    fn until(&self) -> Option<u128> {
        self.election.permit(self.now).map(|permit| (permit.until - self.start).as_millis())
    }
}

fn held_by(holder: &str, seconds: i32) -> Record {
    Record {
        holder: holder.to_owned(),
        duration_seconds: Some(seconds),
        acquired: Some(WallTime(5)),
        renewed: Some(WallTime(6)),
        transitions: 7,
        ..Record::default()
    }
}

#[test]
fn times_that_do_not_fit_together() {
    let timing = |lease, renew, retry| {
        Timing::new(lease, Duration::from_secs(renew), Duration::from_secs(retry)).map(|_| ())
    };
    assert_eq!(Timing::new(15, Duration::from_secs(10), Duration::from_secs(2)), Ok(Timing::default()));
    assert_eq!(timing(10, 10, 2), Err(TimingError::Lease));
    assert_eq!(timing(15, 2, 2), Err(TimingError::Renew));
    assert_eq!(timing(15, 10, 0), Err(TimingError::Retry));
    assert_eq!(timing(0, 0, 0), Err(TimingError::Lease));
}

#[test]
fn no_request_outlives_half_of_the_renew_deadline_nor_five_seconds() {
    let timeout = |lease, renew| {
        Timing::new(lease, Duration::from_secs(renew), Duration::from_secs(1)).unwrap().request_timeout()
    };
    assert_eq!(timeout(15, 10), Duration::from_secs(5));
    assert_eq!(timeout(120, 100), Duration::from_secs(5));
    assert_eq!(timeout(8, 4), Duration::from_secs(2));
}

#[tokio::test]
async fn makes_the_lease_where_there_is_none() {
    let mut bench = Bench::new(A);
    assert_eq!(bench.settle().await, 2_000);
    let expected = Record {
        holder: A.to_owned(),
        duration_seconds: Some(15),
        acquired: Some(WallTime(bench.wall)),
        renewed: Some(WallTime(bench.wall)),
        ..Record::default()
    };
    assert_eq!(bench.record(), expected);
    assert_eq!((bench.term(), bench.until()), (Some(1), Some(10_000)));
    assert_eq!(bench.election.standing(bench.now), Standing::Leading { term: 1 });
}

#[tokio::test]
async fn renews_without_reading_and_keeps_what_belongs_to_the_holding() {
    let mut bench = Bench::new(A);
    bench.hold(&held_by("", 1));
    bench.settle().await;
    bench.at(2_000).wall += 2_000_000;
    let Step::Ask { request: Request::Replace(_, record), deadline } = bench.step() else { panic!() };
    assert_eq!(deadline, bench.start + Duration::from_secs(7));
    assert_eq!(record.acquired, Some(WallTime(1_000_000_000)));
    assert_eq!(record.renewed, Some(WallTime(1_002_000_000)));
    assert_eq!(record.transitions, 8, "taken once, by us");
    assert_eq!(bench.settle().await, 4_000);
    assert_eq!((bench.term(), bench.until()), (Some(1), Some(12_000)));
}

/// What is free, and from when: the rules for each state of the lease at first sight.
#[tokio::test]
async fn when_a_lease_is_free() {
    let no_duration = Record { duration_seconds: None, ..held_by(B, 0) };
    let table = [
        ("held", held_by(B, 15), Some(15_000)),
        ("held for long", held_by(B, 60), Some(60_000)),
        ("held for a moment", held_by(B, 1), Some(1_000)),
        ("held without a duration: ours counts", no_duration, Some(15_000)),
        ("held for a time that makes no sense: ours counts", held_by(B, -3), Some(15_000)),
        ("given back", held_by("", 1), None),
        ("emptied, whatever duration stands there", held_by("", 3_600), None),
        ("ours, from before", held_by(A, 15), None),
    ];
    for (name, record, free) in table {
        let mut bench = Bench::new(A);
        bench.hold(&record);
        let mut next = bench.settle().await;
        while bench.term().is_none() {
            assert_eq!(bench.record(), record, "{name}: written too early");
            bench.at(u64::try_from(next).unwrap());
            next = bench.settle().await;
        }
        assert_eq!((bench.now - bench.start).as_millis(), free.unwrap_or(0), "{name}");
        let transitions = if record.holder == A { 7 } else { 8 };
        assert_eq!(bench.record().transitions, transitions, "{name}");
        let acquired = if record.holder == A { 5 } else { bench.wall };
        assert_eq!(bench.record().acquired, Some(WallTime(acquired)), "{name}");
    }
}

/// Any field of another's lease that changes is a sign of life; anything else is none.
#[tokio::test]
async fn what_counts_as_a_change() {
    let old = held_by(B, 15);
    let table = [
        ("renewed", Record { renewed: Some(WallTime(7)), ..old.clone() }, true),
        (
            "renewed by a clock that went backwards",
            Record { renewed: Some(WallTime(1)), ..old.clone() },
            true,
        ),
        ("acquired", Record { acquired: Some(WallTime(6)), ..old.clone() }, true),
        ("another holder", held_by("c_3", 15), true),
        ("transitions", Record { transitions: 8, ..old.clone() }, true),
        ("strategy", Record { strategy: Some("OldestEmulationVersion".to_owned()), ..old.clone() }, true),
        ("preferred", Record { preferred_holder: Some("c_3".to_owned()), ..old.clone() }, true),
        ("nothing but an annotation", old.clone(), false),
    ];
    for (name, record, is_change) in table {
        let mut bench = Bench::new(A);
        bench.hold(&old);
        bench.settle().await;
        bench.at(14_000).settle().await;
        bench.hold(&record);
        bench.store.touch(&bench.key);
        bench.at(15_000).settle().await;
        assert_eq!(bench.term().is_some(), !is_change, "{name}");
        bench.at(29_999).settle().await;
        assert_eq!(bench.term().is_some(), !is_change, "{name}: before a full duration");
        bench.at(30_000).settle().await;
        assert!(bench.term().is_some(), "{name}: after a full duration");
    }
}

#[tokio::test]
async fn the_wall_clocks_of_others_mean_nothing() {
    for renewed in [i64::MIN, -1, 0, 999_999_999, 4_000_000_000_000_000, i64::MAX] {
        let mut bench = Bench::new(A);
        let record = Record { renewed: Some(WallTime(renewed)), acquired: None, ..held_by(B, 15) };
        bench.hold(&record);
        bench.settle().await;
        bench.at(14_999).settle().await;
        assert_eq!(bench.term(), None, "{renewed}");
        bench.at(15_000).settle().await;
        assert_eq!(bench.term(), Some(1), "{renewed}");
    }
}

/// Others must see each renewal, and may see only every second one.
#[tokio::test]
async fn a_renewal_never_repeats_a_record_whatever_the_wall_clock_does() {
    let mut bench = Bench::new(A);
    let mut seen = Vec::new();
    for (round, wall) in [50, 50, 50, 49, 10, 50, 51, 100, 51, 100, 52].into_iter().enumerate() {
        bench.wall = wall;
        bench.at(round as u64 * 2_000).settle().await;
        let record = bench.record();
        assert!(!seen.contains(&record), "round {round}: {record:?}");
        seen.push(record);
    }
}

#[tokio::test]
async fn waits_for_the_retry_period_or_for_the_lapse_if_that_is_earlier() {
    let mut bench = Bench::new(A);
    bench.hold(&held_by(B, 15));
    assert_eq!(bench.settle().await, 2_000);
    assert_eq!(bench.at(12_000).settle().await, 14_000);
    assert_eq!(bench.at(14_000).settle().await, 15_000);
    let leader = Some(B.to_owned());
    assert_eq!(bench.election.standing(bench.now), Standing::Standby { leader });
}

#[tokio::test]
async fn a_conflict_is_read_again_at_once_and_ends_the_term_of_a_leader_who_lost() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    bench.store.touch(&bench.key);
    assert_eq!(bench.at(2_000).settle().await, 4_000);
    assert_eq!((bench.term(), bench.until()), (Some(1), Some(12_000)), "only the version was another");
    bench.hold(&held_by(B, 15));
    bench.at(4_000).settle().await;
    assert_eq!(bench.term(), None);
    assert_eq!(bench.election.ended(), Some(End::Taken));
    assert_eq!(bench.record(), held_by(B, 15));
}

#[tokio::test]
async fn who_is_beaten_to_a_free_lease_waits() {
    let mut bench = Bench::new(A);
    bench.hold(&held_by("", 1));
    let Step::Ask { request: Request::Read, .. } = bench.step() else { panic!() };
    let answer = bench.carry_out(&Request::Read).await;
    bench.election.answered(bench.now, bench.now, answer);
    bench.hold(&held_by(B, 15));
    let Step::Ask { request, .. } = bench.step() else { panic!() };
    let answer = bench.carry_out(&request).await;
    assert_eq!(answer, Err(Failure::Conflict));
    bench.election.answered(bench.now, bench.now, answer);
    assert_eq!(bench.settle().await, 2_000, "not again at once");
    assert_eq!(bench.record(), held_by(B, 15));
}

#[tokio::test]
async fn a_leader_without_renewal_leads_until_the_deadline_and_later_for_another_term() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    bench.at(2_000);
    assert_eq!(bench.fails(), 7_000, "a request has 5 s");
    assert_eq!(bench.until(), Some(10_000), "from the start of the last renewal");
    assert_eq!(bench.fails(), 10_000, "and never outlives the permit");
    assert_eq!(bench.term(), None);
    assert_eq!(
        bench.step(),
        Step::Ask { request: Request::Read, deadline: bench.start + Duration::from_secs(15) }
    );
    assert_eq!(bench.election.ended(), Some(End::NotRenewed));
    assert_eq!(bench.election.standing(bench.now), Standing::Standby { leader: None });
    bench.settle().await;
    assert_eq!((bench.term(), bench.until()), (Some(2), Some(20_000)));
    assert_eq!(bench.record().transitions, 0, "the holder is the same");
}

#[tokio::test]
async fn a_leader_wakes_for_the_end_of_its_permit() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    for ms in [2_000, 4_000, 6_000, 9_000] {
        let Step::Ask { .. } = bench.at(ms).step() else { panic!() };
        bench.election.answered(bench.now, bench.now, Err(Failure::Other));
    }
    assert_eq!(bench.step(), Step::Wait(bench.start + Duration::from_secs(10)));
    assert_eq!(bench.at(10_000).step(), Step::Wait(bench.start + Duration::from_secs(11)));
    assert_eq!(bench.election.ended(), Some(End::NotRenewed));
}

/// The answer came, but so late that it permits nothing.
#[tokio::test]
async fn a_permit_counts_from_the_start_of_the_request() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    let Step::Ask { request, .. } = bench.at(2_000).step() else { panic!() };
    let started = bench.now;
    let answer = bench.carry_out(&request).await;
    bench.at(9_000);
    bench.election.answered(started, bench.now, answer);
    assert_eq!((bench.term(), bench.until()), (Some(1), Some(12_000)));

    let Step::Ask { request, .. } = bench.step() else { panic!() };
    let started = bench.now;
    let answer = bench.carry_out(&request).await;
    bench.at(60_000);
    bench.election.answered(started, bench.now, answer);
    assert_eq!(bench.term(), None, "frozen for 51 s");
    bench.settle().await;
    assert_eq!(bench.term(), Some(2));
}

/// The process stood still between two steps, for longer than the permit: what was planned is not done.
#[tokio::test]
async fn a_leader_that_was_frozen_reads_before_it_writes() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    bench.hold(&held_by(B, 15));
    let Step::Ask { request, .. } = bench.at(30_000).step() else { panic!() };
    assert_eq!(request, Request::Read);
    assert_eq!(bench.term(), None);
    bench.settle().await;
    assert_eq!(bench.record(), held_by(B, 15));
}

#[tokio::test]
async fn an_answer_that_bridges_a_gap_is_another_term() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    let Step::Ask { request, .. } = bench.at(8_000).step() else { panic!() };
    let started = bench.now;
    let answer = bench.carry_out(&request).await;
    bench.at(10_001);
    bench.election.answered(started, bench.now, answer);
    assert_eq!((bench.term(), bench.until()), (Some(2), Some(18_000)), "there was none for a moment");
}

#[tokio::test]
async fn a_deleted_lease_counts_as_held_for_its_duration_and_its_holder_makes_it_anew() {
    let mut bench = Bench::new(A);
    bench.hold(&held_by(B, 15));
    bench.settle().await;
    bench.store.delete(&bench.key);
    bench.at(2_000).settle().await;
    bench.at(16_999).settle().await;
    assert_eq!(bench.term(), None, "its holder may not know yet");
    bench.at(17_000).settle().await;
    assert_eq!(bench.term(), Some(1));
    assert_eq!(bench.record().transitions, 0);
    bench.store.delete(&bench.key);
    bench.at(19_000).settle().await;
    assert_eq!((bench.term(), bench.until()), (Some(1), Some(29_000)));
}

#[tokio::test]
async fn only_our_own_lease_is_given_back() {
    let mut bench = Bench::new(A);
    bench.settle().await;
    let mine = bench.store.get(&bench.key).unwrap();
    let (revision, record) = bench.election.release(mine.clone(), WallTime(77)).unwrap();
    assert_eq!(revision, mine.revision);
    let expected = Record {
        duration_seconds: Some(1),
        acquired: Some(WallTime(77)),
        renewed: Some(WallTime(77)),
        transitions: mine.record.transitions,
        ..Record::default()
    };
    assert_eq!(record, expected);
    bench.hold(&held_by(B, 15));
    let theirs = bench.store.get(&bench.key).unwrap();
    assert_eq!(bench.election.release(theirs, WallTime(77)), None);
}
