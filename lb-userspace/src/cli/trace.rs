//! `barelb trace ADDRESS`: events and sampled requests, through the agent's admin socket.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{Output, Places, print};
use crate::agent::state::{SOCKET, TRACE, Traced};
use crate::net::clock::boot_time_ns;

/// Arguments of `barelb trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// The address to follow.
    address: IpAddr,
    /// End after this many lines.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// How to print; json is one object a line, yaml one document an event.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    places: Places,
}

impl Trace {
    /// Prints until the agent ends or the count is reached.
    pub fn run(self) -> Result<ExitCode> {
        let path = self.places.state_dir.join(SOCKET);
        let mut stream = UnixStream::connect(&path).with_context(|| {
            format!("no agent answers at {}: is it running, and is this its --state-dir?", path.display())
        })?;
        writeln!(stream, "{TRACE} {}", self.address)?;
        if matches!(self.output, Output::Table | Output::Wide) && !print(header(self.output))? {
            return Ok(ExitCode::SUCCESS);
        }
        for line in BufReader::new(stream).lines().take(self.count.unwrap_or(usize::MAX)) {
            let traced = serde_json::from_str(&line?)
                .context("the agent speaks another version: use the barelb it was started from")?;
            if !print(text(self.output, &traced, Clocks::now())?)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if self.count.is_none() {
            bail!("the agent has ended; its table answers on for the grace: `barelb inspect`");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    boot_ns: u64,
    since_epoch: Duration,
}

impl Clocks {
    fn now() -> Self {
        Self {
            boot_ns: boot_time_ns(),
            since_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// Time of day, UTC.
    fn time_of_day(self, boot_ns: u64) -> String {
        let ago = Duration::from_nanos(self.boot_ns.saturating_sub(boot_ns));
        let then = self.since_epoch.saturating_sub(ago);
        let seconds = then.as_secs() % 86_400;
        format!(
            "{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            then.subsec_millis()
        )
    }
}

fn header(output: Output) -> String {
    let line = columns(["TIME", "EVENT", "OUTCOME", "ADDRESS", "FROM", "ITS MAC"]);
    if output == Output::Wide {
        format!("{line}  {:<7}  {:<8}  BOOT TIME\n", "IFINDEX", "VLAN")
    } else {
        line + "\n"
    }
}

/// One event.
fn text(output: Output, traced: &Traced, clocks: Clocks) -> Result<String> {
    let line = columns([
        &clocks.time_of_day(traced.time_ns),
        &traced.kind,
        &traced.outcome,
        &traced.ip.to_string(),
        &traced.peer.to_string(),
        &traced.peer_mac,
    ]);
    Ok(match output {
        Output::Table => line + "\n",
        Output::Wide => format!(
            "{line}  {:<7}  {:<8}  {}\n",
            traced.link,
            traced.vlans,
            Duration::from_nanos(traced.time_ns).as_secs_f64()
        ),
        Output::Json => serde_json::to_string(traced)? + "\n",
        Output::Yaml => format!("---\n{}", serde_saphyr::to_string(traced)?),
    })
}

fn columns([time, event, outcome, address, from, mac]: [&str; 6]) -> String {
    format!("{time:<13}  {event:<12}  {outcome:<18}  {address:<15}  {from:<15}  {mac:<17}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCKS: Clocks =
        Clocks { boot_ns: 90_000_000_000, since_epoch: Duration::from_millis(1_767_225_601_500) };

    fn traced(ip: &str, peer: &str, outcome: &str) -> Traced {
        Traced {
            time_ns: 88_000_000_000,
            kind: "conflict".into(),
            outcome: outcome.into(),
            link: 4,
            vlans: "100.42".into(),
            ip: ip.parse().unwrap(),
            peer_mac: "02:00:00:00:00:0a".into(),
            peer: peer.parse().unwrap(),
        }
    }

    #[test]
    fn an_event_for_people() {
        let v4 = traced("192.0.2.100", "192.0.2.10", "arp_conflict");
        let v6 = traced("2001:db8::100", "2001:db8::10", "nd_conflict");
        let shown = |output| {
            let lines =
                [header(output), text(output, &v4, CLOCKS).unwrap(), text(output, &v6, CLOCKS).unwrap()];
            lines.concat().lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>()
        };
        let table = "\
TIME           EVENT         OUTCOME             ADDRESS          FROM             ITS MAC
23:59:59.500Z  conflict      arp_conflict        192.0.2.100      192.0.2.10       02:00:00:00:00:0a
23:59:59.500Z  conflict      nd_conflict         2001:db8::100    2001:db8::10     02:00:00:00:00:0a
";
        assert_eq!(shown(Output::Table), table);
        let more = ["  IFINDEX  VLAN      BOOT TIME", "  4        100.42    88", "  4        100.42    88"];
        let wide: Vec<String> =
            table.lines().zip(more).map(|(line, more)| format!("{line:<100}{more}")).collect();
        assert_eq!(shown(Output::Wide), wide.join("\n") + "\n");
    }

    #[test]
    fn an_event_for_programs() {
        let event = traced("2001:db8::100", "::", "nd_conflict");
        let json = text(Output::Json, &event, CLOCKS).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Traced>(&json).unwrap(), event);
        let yaml = text(Output::Yaml, &event, CLOCKS).unwrap();
        let document = yaml.strip_prefix("---\n").unwrap();
        assert_eq!(serde_saphyr::from_str::<Traced>(document).unwrap(), event);
    }
}
