//! Reads the conformance vectors; the format is described in `README.md` beside this file.

use std::fmt;
use std::net::IpAddr;

use lb_common::abi::{KeyV4, KeyV6, State, Vlans};
use lb_common::addr::Mac;
use lb_common::outcome::Outcome;

/// Hardware address in every entry.
pub const NODE: Mac = [2, 0, 0, 0, 0, 0xaa];

const FILES: [(&str, &str); 4] = [
    ("arp.txt", include_str!("arp.txt")),
    ("vlan.txt", include_str!("vlan.txt")),
    ("ndp.txt", include_str!("ndp.txt")),
    ("bfd.txt", include_str!("bfd.txt")),
];

/// One frame and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Number in the conformance table, and what tells forms of one case apart: `A27.14`.
    pub id: String,
    /// What the frame is, in words.
    pub title: String,
    /// The map.
    pub entries: Vec<Address>,
    /// Own addresses whose probes are reflected, with discriminator and whether they are up.
    pub reflectors: Vec<(IpAddr, u32, bool)>,
    /// Who may probe.
    pub members: Vec<(IpAddr, Mac)>,
    /// The deadline of the agent lies ahead.
    pub agent: bool,
    /// TPID and TCI of a tag beside the frame.
    pub stripped: Option<([u8; 2], [u8; 2])>,
    /// How the frame lies in memory.
    pub buffers: Buffers,
    /// Frames to make of it, each from another sender; 0 = just this one.
    pub senders: u32,
    /// The frame.
    pub frame: Vec<u8>,
    /// The reply; none = the frame goes to the stack unchanged.
    pub reply: Option<Vec<u8>>,
    /// Its outcome.
    pub outcome: Outcome,
}

/// How a frame lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// In one.
    One,
    /// In several: what native XDP sees.
    Several,
}

/// An address in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub addr: IpAddr,
    /// VLANs it is bound to.
    pub vlans: Vlans,
    /// Answer, or standby.
    pub state: State,
    /// Bound to another link than the one the frame comes in by.
    pub other_link: bool,
}

/// A row of the conformance table that no single frame shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Number in the conformance table.
    pub id: String,
    /// What is to happen.
    pub title: String,
    /// Which test shows it.
    pub shown_by: String,
}

/// All vectors.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    /// Cases in file order.
    pub cases: Vec<Case>,
    /// Rows without a frame.
    pub elsewhere: Vec<Elsewhere>,
}

/// A line of a vector file that can't be understood.
#[derive(Clone, Debug)]
pub struct VectorError {
    file: &'static str,
    line: usize,
    reason: String,
}

/// Reads every file.
pub fn vectors() -> Result<Vectors, VectorError> {
    let mut all = Vectors::default();
    for (file, text) in FILES {
        let mut draft: Option<Draft> = None;
        for (number, line) in text.lines().enumerate() {
            let at = |reason: String| VectorError { file, line: number + 1, reason };
            let (word, rest) = split(line);
            match (word, draft.as_mut()) {
                ("" | "#", _) => {}
                ("case", _) => {
                    if let Some(done) = draft.take() {
                        done.finish(&mut all).map_err(at)?;
                    }
                    draft = Some(Draft::new(rest));
                }
                (_, Some(draft)) => draft.line(word, rest).map_err(at)?,
                (_, None) => return Err(at(format!("`{word}` before the first case"))),
            }
        }
        if let Some(done) = draft {
            done.finish(&mut all).map_err(|reason| VectorError {
                file,
                line: text.lines().count(),
                reason,
            })?;
        }
    }
    Ok(all)
}

impl Case {
    /// Number in the conformance table: the id up to the first dot.
    pub fn row(&self) -> &str {
        row(&self.id)
    }

    /// Keys and states of the IPv4 entries; `other` is any other link than `ifindex`.
    pub fn v4(&self, ifindex: u32, other: u32) -> Vec<(KeyV4, State)> {
        let entries = self.entries.iter().filter_map(|entry| match entry.addr {
            IpAddr::V4(addr) => {
                Some((KeyV4::new(entry.link(ifindex, other), entry.vlans, addr.octets()), entry.state))
            }
            IpAddr::V6(_) => None,
        });
        entries.collect()
    }

    /// As [`Case::v4`], for IPv6.
    pub fn v6(&self, ifindex: u32, other: u32) -> Vec<(KeyV6, State)> {
        let entries = self.entries.iter().filter_map(|entry| match entry.addr {
            IpAddr::V6(addr) => {
                Some((KeyV6::new(entry.link(ifindex, other), entry.vlans, addr.octets()), entry.state))
            }
            IpAddr::V4(_) => None,
        });
        entries.collect()
    }
}

impl Address {
    fn link(&self, ifindex: u32, other: u32) -> u32 {
        if self.other_link { other } else { ifindex }
    }
}

/// Bytes as they stand in the vectors, without blanks.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The part of an id that is a number of the conformance table.
pub fn row(id: &str) -> &str {
    id.split_once('.').map_or(id, |(row, _)| row)
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests/vectors/{}, line {}: {}", self.file, self.line, self.reason)
    }
}

impl std::error::Error for VectorError {}

/// A case while its lines come in.
struct Draft {
    id: String,
    title: String,
    entries: Option<Vec<Address>>,
    reflectors: Option<Vec<(IpAddr, u32, bool)>>,
    members: Option<Vec<(IpAddr, Mac)>>,
    agent: bool,
    stripped: Option<([u8; 2], [u8; 2])>,
    buffers: Buffers,
    senders: u32,
    truncate: Vec<(usize, usize, Outcome)>,
    frame: Option<Vec<u8>>,
    reply: Option<Vec<u8>>,
    outcome: Option<Outcome>,
    elsewhere: Option<String>,
}

impl Draft {
    fn new(rest: &str) -> Self {
        let (id, title) = split(rest);
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            entries: None,
            reflectors: None,
            members: None,
            agent: true,
            stripped: None,
            buffers: Buffers::One,
            senders: 0,
            truncate: Vec::new(),
            frame: None,
            reply: None,
            outcome: None,
            elsewhere: None,
        }
    }

    fn line(&mut self, word: &str, rest: &str) -> Result<(), String> {
        match (word, rest) {
            ("entry", "none") => self.entries = Some(Vec::new()),
            ("entry", _) => self.entries.get_or_insert_default().push(address(rest)?),
            ("reflector", "none") => self.reflectors = Some(Vec::new()),
            ("reflector", _) => self.reflectors.get_or_insert_default().push(reflector(rest)?),
            ("member", "none") => self.members = Some(Vec::new()),
            ("member", _) => self.members.get_or_insert_default().push(member(rest)?),
            ("agent", "expired") => self.agent = false,
            ("stripped", _) => match bytes(rest)?.as_slice() {
                &[p0, p1, t0, t1] => self.stripped = Some(([p0, p1], [t0, t1])),
                _ => return Err("`stripped` takes a TPID and a TCI".to_owned()),
            },
            ("buffers", "several") => self.buffers = Buffers::Several,
            ("senders", _) => self.senders = number(rest)?,
            ("truncate", _) => self.truncate.push(truncate(rest)?),
            ("pick" | "note", _) => {}
            ("in", _) => self.frame = Some(bytes(rest)?),
            ("out", "pass") => self.reply = None,
            ("out", _) => self.reply = Some(bytes(rest)?),
            ("is", _) => self.outcome = Some(outcome(rest)?),
            ("elsewhere", _) => self.elsewhere = Some(rest.to_owned()),
            _ => return Err(format!("`{word} {rest}` is not understood")),
        }
        Ok(())
    }

    fn finish(self, all: &mut Vectors) -> Result<(), String> {
        if let Some(shown_by) = self.elsewhere {
            all.elsewhere.push(Elsewhere { id: self.id, title: self.title, shown_by });
            return Ok(());
        }
        let Some(frame) = self.frame else { return Err(format!("case {} has no frame", self.id)) };
        let case = Case {
            id: self.id,
            title: self.title,
            entries: self.entries.map_or_else(defaults, Ok)?,
            reflectors: self.reflectors.map_or_else(default_reflectors, Ok)?,
            members: self.members.map_or_else(default_members, Ok)?,
            agent: self.agent,
            stripped: self.stripped,
            buffers: self.buffers,
            senders: self.senders,
            frame,
            reply: self.reply,
            outcome: self.outcome.unwrap_or(Outcome::Ignored),
        };
        for (from, to, outcome) in &self.truncate {
            for len in *from..=*to {
                let Some(cut) = case.frame.get(..len) else {
                    return Err(format!("the frame has no {len} bytes"));
                };
                let title = format!("{}: {len} bytes", case.title);
                let (id, frame) = (format!("{}.{len}", case.id), cut.to_vec());
                all.cases.push(Case { id, title, frame, outcome: *outcome, ..case.clone() });
            }
        }
        match (self.truncate.is_empty(), self.outcome) {
            (true, Some(outcome)) if outcome.is_answer() == case.reply.is_some() => all.cases.push(case),
            (true, Some(_)) => return Err(format!("outcome and reply of case {} do not agree", case.id)),
            (true, None) => return Err(format!("case {} has no outcome", case.id)),
            (false, _) => {}
        }
        Ok(())
    }
}

fn defaults() -> Result<Vec<Address>, String> {
    Ok(vec![address("192.0.2.100")?, address("2001:db8::64")?])
}

fn default_reflectors() -> Result<Vec<(IpAddr, u32, bool)>, String> {
    Ok(vec![reflector("192.0.2.1 0a0b0c0d")?, reflector("2001:db8::1 0a0b0c0d")?])
}

fn default_members() -> Result<Vec<(IpAddr, Mac)>, String> {
    Ok(vec![member("192.0.2.10 020000000001")?, member("2001:db8::10 020000000001")?])
}

fn reflector(text: &str) -> Result<(IpAddr, u32, bool), String> {
    let (addr, rest) = split(text);
    let (discriminator, state) = split(rest);
    let up = match state {
        "" => true,
        "down" => false,
        _ => return Err(format!("`{state}` says nothing about a reflector")),
    };
    let discriminator = <[u8; 4]>::try_from(bytes(discriminator)?);
    let discriminator = discriminator.map_err(|bytes| format!("a discriminator of {} bytes", bytes.len()))?;
    Ok((number(addr)?, u32::from_be_bytes(discriminator), up))
}

fn member(text: &str) -> Result<(IpAddr, Mac), String> {
    let (addr, mac) = split(text);
    let mac = Mac::try_from(bytes(mac)?).map_err(|bytes| format!("an address of {} bytes", bytes.len()))?;
    Ok((number(addr)?, mac))
}

fn address(text: &str) -> Result<Address, String> {
    let (addr, mut rest) = split(text);
    let addr = addr.parse().map_err(|error| format!("`{addr}`: {error}"))?;
    let mut entry = Address { addr, vlans: Vlans::UNTAGGED, state: State::Answer, other_link: false };
    while !rest.is_empty() {
        let (word, tail) = split(rest);
        rest = match word {
            "standby" => {
                entry.state = State::Standby;
                tail
            }
            "vlan" => {
                let (ids, tail) = split(tail);
                let (outer, inner) = ids.split_once('.').unwrap_or((ids, "0"));
                entry.vlans = Vlans::new(number(outer)?, number(inner)?);
                tail
            }
            "link" => {
                let (link, tail) = split(tail);
                entry.other_link = link == "other";
                tail
            }
            _ => return Err(format!("`{word}` says nothing about an entry")),
        };
    }
    Ok(entry)
}

fn truncate(text: &str) -> Result<(usize, usize, Outcome), String> {
    let (range, name) = split(text);
    let (from, to) = range.split_once("..").ok_or("`truncate` takes FROM..TO and an outcome")?;
    Ok((number(from)?, number(to)?, outcome(name)?))
}

fn outcome(name: &str) -> Result<Outcome, String> {
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name);
    found.ok_or_else(|| format!("there is no outcome `{name}`"))
}

fn number<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

/// `HEX` of the format.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    for token in text.split_whitespace().filter(|token| *token != "|") {
        let (digits, times) = token.split_once('*').unwrap_or((token, "1"));
        let digits = digits.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return Err(format!("`{token}` is half a byte too much"));
        }
        let mut part = Vec::with_capacity(digits.len() / 2);
        for pair in digits.chunks_exact(2) {
            let pair = str::from_utf8(pair).map_err(|error| error.to_string())?;
            part.push(u8::from_str_radix(pair, 16).map_err(|error| format!("`{pair}`: {error}"))?);
        }
        all.extend(part.repeat(number(times)?));
    }
    Ok(all)
}

/// First word of a line and what follows it.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim();
    line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim_start()))
}
