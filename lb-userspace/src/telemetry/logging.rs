//! The log: tracing to standard error.

use std::io::IsTerminal;

use clap::Args;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Debug, Args)]
pub struct Logging {
    /// Levels, for example `info` or `warn,lb_userspace::agent=debug`.
    #[arg(long, env = "LB_LOG", value_name = "FILTER", default_value = "info")]
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

/// Sends events to standard error from now on.
pub fn start(logging: &Logging) {
    let filter = EnvFilter::try_new(&logging.log).unwrap_or_else(|_error| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let result = match logging.log_format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().try_init(),
    };
    // A test that starts two agents in one process has a log already.
    drop(result);
}
