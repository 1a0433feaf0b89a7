//! The page of metrics: OpenMetrics or, with `--metrics-compat metallb`, the older text format with MetalLB's metrics
//! added, so that dashboards and alerts made for MetalLB go on.
//!
//! The older format, because it is MetalLB's: its counters have names that OpenMetrics does not allow to a counter
//! (without `_total`), and its gauges names that it keeps for counters. What MetalLB's metrics are made of is on the page
//! already, so they are made from it, and can't say anything else.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub mod metallb;
mod sample;

/// The text format of OpenMetrics. To readers of the older format its counters would have no type.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older one.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `--metrics-compat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Compat {
    /// Our metrics alone.
    #[default]
    None,
    /// MetalLB's beside them, by the names and labels of MetalLB.
    Metallb,
}

/// What is shown of a registry.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    registry: Arc<Registry>,
    compat: Compat,
}

impl Exposition {
    /// All metrics of a registry.
    pub fn new(registry: Arc<Registry>, compat: Compat) -> Self {
        Self { registry, compat }
    }

    /// The type and the text of the page. An error is a bug: a metric can't be written as text.
    pub fn page(&self) -> Result<(&'static str, String), fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(match self.compat {
            Compat::None => (OPENMETRICS, page),
            Compat::Metallb => (PROMETHEUS, classic(&page)? + &metallb::page(&page)?),
        })
    }
}

/// The same metrics in the older format, where a counter has `_total` in the name of its type too.
fn classic(openmetrics: &str) -> Result<String, fmt::Error> {
    use std::fmt::Write;

    let mut page = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                writeln!(page, "# HELP {name}{suffix} {text}")?;
            }
            writeln!(page, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(page, "{line}")?;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests;
