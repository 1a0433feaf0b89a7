//! The log: tracing to standard error.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

mod json;

/// kube's line for each failed request, and the crate it is of. Whoever asks says what failed and what to do; while an API
/// server is away, each watch would add a line a second to that. A `--log` that names the crate has them.
const QUIET: (&str, &str) = ("kube_client::client::builder=off", "kube_client");

/// How the log is written.
#[derive(Clone, Debug, Args)]
pub struct Logging {
    /// Levels, for example `info` or `warn,lb_userspace::agent=debug`.
    #[arg(long, env = "LB_LOG", value_name = "FILTER", default_value = "info", value_parser = filter)]
    log: String,
    /// Text for people or one JSON object a line.
    #[arg(long, env = "LB_LOG_FORMAT", value_enum, default_value_t)]
    log_format: Format,
}

/// Format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For log collectors.
    Json,
}

/// Text that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a level (off, error, warn, info, debug, trace), or parts with commas between them, each a level or \
     MODULE=LEVEL: write for example info,lb_userspace::agent=debug"
)]
struct FilterError;

/// Reads the value of `--log`; clap puts the flag and the text before the error.
///
/// A word alone would be the name of a module, of which everything is shown, and of all others nothing: as the word is
/// more likely a level with a typing error, it is refused.
fn filter(text: &str) -> std::result::Result<String, FilterError> {
    let is_part =
        |part: &str| part.contains('=') || (!part.is_empty() && part.parse::<LevelFilter>().is_ok());
    let parsed = EnvFilter::builder().parse(text);
    if parsed.is_ok() && text.split(',').all(is_part) { Ok(text.to_owned()) } else { Err(FilterError) }
}

/// Sends events to standard error from now on.
pub fn start(logging: &Logging) {
    // A test that starts two agents in one process has a log already.
    drop(subscriber(logging, io::stderr, io::stderr().is_terminal()).try_init());
}

/// The exit code of a program that has ended so. For collectors the error is a line like the others.
pub fn ended(logging: &Logging, result: Result<()>) -> Result<ExitCode> {
    match (result, logging.log_format) {
        (Err(error), Format::Json) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::error!(error, "ended by an error");
            Ok(ExitCode::FAILURE)
        }
        (result, _) => result.map(|()| ExitCode::SUCCESS),
    }
}

/// What writes events as `logging` says; with colours if it is text for a terminal.
fn subscriber<W>(logging: &Logging, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // It was parsed once already.
    let ((quiet, unless), wanted) = (QUIET, &logging.log);
    let wanted = if wanted.contains(unless) { wanted.clone() } else { format!("{quiet},{wanted}") };
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_error| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match logging.log_format {
        Format::Text => Box::new(builder.with_target(false).with_ansi(colours).finish()),
        Format::Json => Box::new(builder.event_format(json::Json).finish()),
    }
}

#[cfg(test)]
mod tests;
