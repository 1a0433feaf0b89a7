//! `barelb top`: which addresses are asked for most, live, on a terminal.
//!
//! ```text
//! thread: ask, join, make rows ── every interval ──> model ── draws ──> terminal
//!                                        keys ───────┘
//! ```

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

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
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    interval: Duration,
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
        let (tell, told) = channel();
        thread::Builder::new()
            .name("asks".to_owned())
            .spawn(move || runtime.block_on(self.ask(&client, &mut liner, &tell)))
            .context("starting the thread that asks the cluster")?;
        let mut terminal = ratatui::try_init().context("taking over the terminal")?;
        let shown = show(&mut terminal, &mut model, &told);
        ratatui::try_restore().context("giving back the terminal")?;
        shown.map(|()| ExitCode::SUCCESS)
    }

    /// Asks again and again, until nobody listens any more.
    async fn ask(&self, client: &Client, liner: &mut Liner, tell: &Sender<Result<Look, String>>) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(self.interval).await;
            let report = look(client, &self.access, &self.scope).await;
            let now = Instant::now();
            let look = report.map(|report| Look::of(&report, liner, now - last));
            if look.is_ok() {
                last = now;
            }
            if tell.send(look.map_err(|error| format!("{error:#}"))).is_err() {
                return;
            }
        }
    }
}

impl Look {
    fn of(report: &Report, liner: &mut Liner, since: Duration) -> Self {
        let lines = liner.lines(report, since);
        Self { summary: summary::summary(report, &lines), complaint: summary::complaint(report), lines }
    }
}

/// Draws whenever something has changed; what the terminal says comes before what the cluster says.
fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    told: &Receiver<Result<Look, String>>,
) -> Result<()> {
    let mut changed = true;
    loop {
        while let Ok(look) = told.try_recv() {
            match look {
                Ok(Look { lines, summary, complaint }) => model.take(lines, summary, complaint),
                Err(why) => model.complain(format!("what is shown is older: {why}")),
            }
            changed = true;
        }
        if changed {
            let size = terminal.size().context("asking for the size of the terminal")?;
            model.resize(draw::room(size.height));
            terminal.draw(|frame| draw::draw(model, frame)).context("drawing")?;
            changed = false;
        }
        // Keys that wait are all taken before the next picture.
        let mut patience = GLANCE;
        while event::poll(patience).context("waiting for a key")? {
            match event::read().context("reading a key")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match model.press(key) {
                    Next::Quit => return Ok(()),
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
