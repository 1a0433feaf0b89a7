//! `barelb top`: which addresses are asked for most, live, on a terminal.
//!
//! ```text
//! thread: ask, join, make rows ── every interval ──> model ── draws ──> terminal
//!         signals                        keys ───────┘
//! ```
//!
//! However it ends, the terminal is given back as it was: after a key, an error, a panic (by ratatui's hook) and a signal.

use std::io::{self, IsTerminal};
use std::panic;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::execute;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access::{Access, runtime};
use super::duration;
use super::status::Scope;
use super::status::addresses::look;
use super::status::report::Report;
use crate::source::kubernetes::Client;

mod draw;
mod line;
mod model;
mod summary;

use line::{Line, Liner};
use model::{Model, Next};

/// How long a key may have to wait for new rows to be looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Arguments of `barelb top`.
#[derive(Debug, Args)]
pub struct Top {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    access: Access,
    /// From one look at the cluster to the next.
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "2s", value_parser = duration::interval)]
    interval: Duration,
}

/// How long the terminal may take to be given back after a signal. One that is gone would never let that happen.
const END: Duration = Duration::from_secs(1);

/// What the thread has to say.
enum News {
    Look(Look),
    /// The last look has failed.
    Failed(String),
    /// A signal asks for the end: its number.
    Signal(u8),
}

/// What a look has shown.
struct Look {
    lines: Vec<Line>,
    summary: String,
    complaint: Option<String>,
}

impl Top {
    /// Shows it until it is told to end.
    pub fn run(self) -> Result<ExitCode> {
        if !io::stdout().is_terminal() {
            bail!(
                "`barelb top` draws on a terminal, and standard output is none: `barelb status` prints the same once"
            );
        }
        let runtime = runtime()?;
        let client = runtime.block_on(self.access.client())?;
        // What is wrong from the start is told as `barelb status` tells it.
        let report = runtime.block_on(look(&client, &self.access, &self.scope))?;
        let mut liner = Liner::default();
        let mut model = Model::default();
        let first = Look::of(&report, &mut liner, Duration::ZERO);
        model.take(first.lines, first.summary, first.complaint);
        // Heard before the terminal is taken over: none may come in between.
        let signals = {
            let _entered = runtime.enter();
            signals().context("listening for signals")?
        };
        let (tell, told) = channel();
        thread::Builder::new()
            .name("asks".to_owned())
            .spawn(move || runtime.block_on(self.ask(&client, &mut liner, signals, &tell)))
            .context("starting the thread that asks the cluster")?;
        let mut terminal = take_over().context("taking over the terminal")?;
        let shown = show(&mut terminal, &mut model, &told);
        let restored = give_back().context("giving back the terminal");
        let code = shown?;
        restored.map(|()| code)
    }

    /// Asks again and again, until nobody listens any more.
    async fn ask(&self, client: &Client, liner: &mut Liner, signals: [(Signal, u8); 3], tell: &Sender<News>) {
        let mut last = Instant::now();
        let asked = async {
            loop {
                tokio::time::sleep(self.interval).await;
                let report = look(client, &self.access, &self.scope).await;
                let now = Instant::now();
                let news = match report {
                    Ok(report) => {
                        let since = now - std::mem::replace(&mut last, now);
                        News::Look(Look::of(&report, liner, since))
                    }
                    Err(error) => News::Failed(format!("{error:#}")),
                };
                if tell.send(news).is_err() {
                    return;
                }
            }
        };
        let number = tokio::select! {
            () = asked => return,
            number = any_of(signals) => number,
        };
        if tell.send(News::Signal(number)).is_ok() {
            tokio::time::sleep(END).await;
            // Whoever waits for a key of a terminal that is gone never hears of it.
            drop(give_back());
            std::process::exit(i32::from(after(number)));
        }
    }
}

/// The terminal, for pictures.
fn take_over() -> io::Result<DefaultTerminal> {
    let taken = ratatui::try_init();
    if taken.is_err() {
        // Half of it may be done.
        drop(give_back());
    }
    let hook = panic::take_hook();
    // ratatui's own does the rest.
    panic::set_hook(Box::new(move |info| {
        drop(execute!(io::stdout(), Show));
        hook(info);
    }));
    taken
}

/// As it was, with its cursor.
fn give_back() -> io::Result<()> {
    ratatui::try_restore()?;
    execute!(io::stdout(), Show)
}

/// Those that ask for the end, with their numbers.
fn signals() -> io::Result<[(Signal, u8); 3]> {
    Ok([
        (signal(SignalKind::hangup())?, 1),
        (signal(SignalKind::interrupt())?, 2),
        (signal(SignalKind::terminate())?, 15),
    ])
}

/// The number of the first one that comes.
async fn any_of(signals: [(Signal, u8); 3]) -> u8 {
    let waiting = signals.map(|(mut signal, number)| {
        Box::pin(async move {
            signal.recv().await;
            number
        })
    });
    futures::future::select_all(waiting).await.0
}

/// The exit code after a signal, as shells have it.
fn after(signal: u8) -> u8 {
    128 + signal
}

impl Look {
    fn of(report: &Report, liner: &mut Liner, since: Duration) -> Self {
        let lines = liner.lines(report, since);
        Self { summary: summary::summary(report, &lines), complaint: summary::complaint(report), lines }
    }
}

/// Draws whenever something has changed; what the terminal says comes before what the cluster says. Returns the exit code.
fn show(terminal: &mut DefaultTerminal, model: &mut Model, told: &Receiver<News>) -> Result<ExitCode> {
    let mut changed = true;
    loop {
        loop {
            match told.try_recv() {
                Ok(News::Look(Look { lines, summary, complaint })) => model.take(lines, summary, complaint),
                Ok(News::Failed(why)) => model.complain(format!("what is shown is older: {why}")),
                Ok(News::Signal(number)) => return Ok(ExitCode::from(after(number))),
                Err(TryRecvError::Empty) => break,
                // It has panicked, and said so.
                Err(TryRecvError::Disconnected) => bail!("the thread that asks the cluster has ended"),
            }
            changed = true;
        }
        if changed {
            let size = terminal.size().context("asking for the size of the terminal")?;
            model.resize(draw::room(model, size));
            terminal.draw(|frame| draw::draw(model, frame)).context("drawing")?;
            changed = false;
        }
        // Keys that wait are all taken before the next picture.
        let mut patience = GLANCE;
        while event::poll(patience).context("waiting for a key")? {
            match event::read().context("reading a key")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match model.press(key) {
                    Next::Quit => return Ok(ExitCode::SUCCESS),
                    Next::Draw => changed = true,
                    Next::Nothing => {}
                },
                Event::Resize(..) => changed = true,
                Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => {
                }
            }
            patience = Duration::ZERO;
        }
    }
}
