//! Candidates in a world where everything goes wrong: requests are slow, lost, refused or carried out long after their
//! sender gave up, processes freeze, die and start anew, wall clocks stand still and jump, somebody annotates the lease.
//!
//! Two things must hold. At no instant have two candidates a permit. And once the world is well again, somebody leads
//! within the lease duration and two retry periods.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use proptest::prelude::*;

use super::*;

/// How often the permits are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long everything goes wrong.
const TROUBLE: Duration = Duration::from_secs(90);
/// Lease duration and two retry periods, and the time of a few requests of a well store.
const LONGEST_WAIT: Duration = Duration::from_millis(15_000 + 2 * 2_000 + 200);

/// What happens to a candidate, or to the lease.
#[derive(Debug, Clone)]
enum Happening {
    /// Its connection is like this from now on.
    Connection(Fault),
    /// This happens to its next requests.
    Requests(Vec<Fault>),
    /// It does not run for so long.
    Freeze(Duration),
    /// It dies, and another one starts in its place after so long.
    Die(Duration),
    /// It gives the lease back, and another one starts in its place.
    Release,
    /// Its wall clock says this from now on, and goes on or stands still.
    Wall(i64, bool),
    /// Somebody annotates the lease.
    Touch,
}

fn duration(longest: Duration) -> impl Strategy<Value = Duration> {
    (0..=u64::try_from(longest.as_millis()).unwrap()).prop_map(Duration::from_millis)
}

fn fault() -> impl Strategy<Value = Fault> {
    let delay = || {
        prop_oneof![
            3 => Just(Duration::ZERO),
            3 => duration(Duration::from_millis(300)),
            2 => duration(Duration::from_secs(6)),
            1 => duration(Duration::from_secs(40)),
        ]
    };
    let loss = prop_oneof![4 => Just(Loss::Nothing), 1 => Just(Loss::Request), 1 => Just(Loss::Answer)];
    let refuse = prop_oneof![6 => Just(None), 1 => Just(Some(503))];
    (delay(), delay(), loss, refuse).prop_map(|(before, after, loss, refuse)| Fault {
        before,
        after,
        loss,
        refuse,
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => fault().prop_map(Happening::Connection),
        4 => prop::collection::vec(fault(), 1..6).prop_map(Happening::Requests),
        3 => duration(Duration::from_secs(40)).prop_map(Happening::Freeze),
        1 => duration(Duration::from_secs(20)).prop_map(Happening::Die),
        1 => Just(Happening::Release),
        2 => (0..4_000_000_000_000_000_i64, any::<bool>()).prop_map(|(wall, goes)| Happening::Wall(wall, goes)),
        1 => Just(Happening::Touch),
    ]
}

/// When what happens to whom.
fn story(candidates: usize) -> impl Strategy<Value = Vec<(Duration, usize, Happening)>> {
    prop::collection::vec((duration(TROUBLE), 0..candidates, happening()), 0..24).prop_map(|mut story| {
        story.sort_by_key(|(at, ..)| *at);
        story
    })
}

/// A process, that can be frozen.
struct Process<F> {
    inner: Pin<Box<F>>,
    frozen_until: Rc<Cell<Instant>>,
    thaw: Pin<Box<tokio::time::Sleep>>,
}

impl<F: Future> Future for Process<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let until = self.frozen_until.get();
        if until > Instant::now() {
            // The end of the frost may be moved.
            self.thaw.as_mut().reset(until.min(Instant::now() + LOOK));
            if self.thaw.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(context)
    }
}

/// The wall clock of a machine: what it said at a moment, and whether it goes.
type Wall = Arc<Mutex<(i64, Instant, bool)>>;

struct Candidate {
    name: String,
    lives: u32,
    connection: Memory,
    wall: Wall,
    frozen_until: Rc<Cell<Instant>>,
    starts_at: Instant,
    running: Option<Running>,
}

struct Running {
    leadership: Leadership,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<Release, LeaseError>>,
}

impl Candidate {
    fn new(store: &Memory, number: usize) -> Self {
        Self {
            name: format!("candidate-{number}"),
            lives: 0,
            connection: store.handle(),
            wall: Arc::new(Mutex::new((1_700_000_000_000_000, Instant::now(), true))),
            frozen_until: Rc::new(Cell::new(Instant::now())),
            starts_at: Instant::now(),
            running: None,
        }
    }

    fn start(&mut self) {
        self.lives += 1;
        let wall = Arc::clone(&self.wall);
        let wall = move || {
            let (said, at, goes) = *wall.lock().unwrap();
            let gone = if goes { i64::try_from(at.elapsed().as_micros()).unwrap() } else { 0 };
            WallTime(said + gone)
        };
        let clocks = Clocks { wall: Arc::new(wall), ..Clocks::default() };
        let settings = settings(&format!("{}_{}", self.name, self.lives));
        let (leadership, task) = Task::new(self.connection.clone(), settings, clocks);
        let (stop, stopped) = oneshot::channel();
        let process = Process {
            inner: Box::pin(task.run(stopped)),
            frozen_until: Rc::clone(&self.frozen_until),
            thaw: Box::pin(sleep(Duration::ZERO)),
        };
        let task = tokio::task::spawn_local(process);
        self.running = Some(Running { leadership, stop: Some(stop), task });
    }

    fn happens(&mut self, store: &Memory, happening: Happening) {
        let now = Instant::now();
        match happening {
            Happening::Connection(fault) => self.connection.always(fault),
            Happening::Requests(faults) => self.connection.next(faults),
            Happening::Freeze(span) => self.frozen_until.set(now + span),
            Happening::Die(span) => {
                if let Some(running) = self.running.take() {
                    running.task.abort();
                }
                self.starts_at = now + span;
            }
            Happening::Release => {
                if let Some(stop) = self.running.as_mut().and_then(|running| running.stop.take()) {
                    stop.send(()).unwrap();
                }
            }
            Happening::Wall(said, goes) => *self.wall.lock().unwrap() = (said, now, goes),
            Happening::Touch => store.touch(&key()),
        }
    }

    /// Starts it if it is time, and tells whether it has a permit.
    fn look(&mut self) -> Option<Permit> {
        if self.running.as_ref().is_some_and(|running| running.task.is_finished()) {
            self.running = None;
        }
        if self.running.is_none() && self.starts_at <= Instant::now() {
            self.start();
        }
        self.running.as_ref().and_then(|running| running.leadership.permit())
    }
}

struct World {
    store: Memory,
    candidates: Vec<Candidate>,
    /// Leaders that were seen one after the other.
    leaders: Vec<(usize, u64)>,
}

impl World {
    fn new(candidates: usize) -> Self {
        let store = Memory::new();
        let candidates = (0..candidates).map(|number| Candidate::new(&store, number)).collect();
        Self { store, candidates, leaders: Vec::new() }
    }

    fn look(&mut self) -> Result<bool, TestCaseError> {
        let permits: Vec<(usize, Permit)> = self
            .candidates
            .iter_mut()
            .enumerate()
            .filter_map(|(number, candidate)| candidate.look().map(|permit| (number, permit)))
            .collect();
        prop_assert!(permits.len() <= 1, "two lead: {permits:?} at {:?}", Instant::now());
        for (number, permit) in &permits {
            let leader = (*number, permit.term);
            if self.leaders.last() != Some(&leader) {
                self.leaders.push(leader);
            }
        }
        Ok(!permits.is_empty())
    }

    async fn trouble(&mut self, story: Vec<(Duration, usize, Happening)>) -> Result<(), TestCaseError> {
        let begin = Instant::now();
        let mut story = story.into_iter().peekable();
        while begin.elapsed() < TROUBLE {
            while let Some((_, number, happening)) = story.next_if(|(at, ..)| *at <= begin.elapsed()) {
                self.candidates[number].happens(&self.store, happening);
            }
            self.look()?;
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// From now on all is well; how long it takes until somebody leads. Looks on for a while.
    async fn peace(&mut self) -> Result<Duration, TestCaseError> {
        for candidate in &mut self.candidates {
            candidate.connection.cut();
            candidate.connection.always(slow(Duration::from_millis(20)));
            candidate.frozen_until.set(Instant::now());
            candidate.starts_at = candidate.starts_at.min(Instant::now());
        }
        let begin = Instant::now();
        while !self.look()? {
            prop_assert!(begin.elapsed() < Duration::from_mins(2), "nobody leads");
            sleep(LOOK).await;
        }
        let waited = begin.elapsed();
        for _ in 0..400 {
            self.look()?;
            sleep(LOOK).await;
        }
        Ok(waited)
    }
}

/// Runs a story. Returns how long peace needed, and how many terms there were.
fn run(
    candidates: usize,
    story: Vec<(Duration, usize, Happening)>,
) -> Result<(Duration, usize), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut world = World::new(candidates);
        world.trouble(story).await?;
        let waited = world.peace().await?;
        Ok((waited, world.leaders.len()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn two_never_lead_at_once(story in story(2)) {
        let (waited, _) = run(2, story)?;
        prop_assert!(waited <= LONGEST_WAIT, "{waited:?}");
    }

    #[test]
    fn three_never_lead_at_once(story in story(3)) {
        let (waited, _) = run(3, story)?;
        prop_assert!(waited <= LONGEST_WAIT, "{waited:?}");
    }
}

/// The stories are of use only if they bring the lead to others.
#[test]
fn the_lead_changes_hands_in_the_simulation() {
    let story = vec![
        (20 * SECOND, 0, Happening::Freeze(40 * SECOND)),
        (50 * SECOND, 1, Happening::Die(30 * SECOND)),
        (75 * SECOND, 0, Happening::Release),
    ];
    let (_, terms) = run(2, story).unwrap();
    assert!(terms >= 3, "{terms}");
}
