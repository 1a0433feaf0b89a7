//! Runs a target on stable, without libFuzzer: the corpus, then mutations of it, chosen by a number that can be given.
//!
//! It knows nothing of coverage, so it finds less than libFuzzer in the same time; what it finds it finds again.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::mutation::Numbers;

/// Longest input that is made.
const LONGEST: usize = 4096;
/// Texts that matter to one target or another.
const WORDS: [&[u8]; 20] = [
    b"192.0.2.0/24",
    b"2001:db8::/64",
    b"192.0.2.10-192.0.2.20",
    b" - ",
    b"-",
    b"/",
    b"::",
    b"255.255.255.255",
    b"\n",
    b"\n\n",
    b"- ",
    b": ",
    b"address-pools:",
    b"name:",
    b"protocol: layer2",
    b"addresses:",
    b"\x08\x06",
    b"\x86\xdd",
    b"\x81\x00",
    b"\x88\xa8",
];

/// libFuzzer's arguments, as far as they are understood here.
struct Arguments {
    seconds: u64,
    seed: u64,
    artifacts: OsString,
    corpora: Vec<PathBuf>,
}

/// The main function of a target: `-max_total_time=SECONDS -seed=N -artifact_prefix=FOLDER/ CORPUS…`
pub fn main(run: fn(&[u8])) -> ExitCode {
    let arguments = arguments();
    let corpus: Vec<Vec<u8>> = arguments.corpora.iter().flat_map(|folder| inputs(folder)).collect();
    println!("{} inputs in the corpus, then mutations with -seed={}", corpus.len(), arguments.seed);
    if let Some(found) = corpus.iter().find(|input| panics(run, input)) {
        return keep(&arguments, found);
    }
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut numbers = Numbers(arguments.seed);
    let mut runs = 0_u64;
    while !runs.is_multiple_of(1024) || Instant::now() < end {
        let input = mutant(&mut numbers, &corpus);
        if panics(run, &input) {
            return keep(&arguments, &input);
        }
        runs += 1;
    }
    println!("{runs} mutations, nothing found");
    ExitCode::SUCCESS
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { seconds: 60, seed: 1, artifacts: OsString::new(), corpora: Vec::new() };
    for argument in env::args_os().skip(1) {
        let text = argument.to_string_lossy().into_owned();
        match text.split_once('=') {
            Some(("-max_total_time", seconds)) => arguments.seconds = seconds.parse().unwrap_or(60),
            Some(("-seed", seed)) => arguments.seed = seed.parse().unwrap_or(1),
            Some(("-artifact_prefix", prefix)) => arguments.artifacts = prefix.into(),
            Some(_) | None if text.starts_with('-') => println!("{text} means nothing to this driver"),
            Some(_) | None => arguments.corpora.push(argument.into()),
        }
    }
    arguments
}

/// Every file of a folder, by name, so that the same corpus gives the same run; a file stands for itself.
fn inputs(path: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(path) else { return fs::read(path).into_iter().collect() };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}

fn panics(run: fn(&[u8]), input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| run(input))).is_err()
}

fn keep(arguments: &Arguments, input: &[u8]) -> ExitCode {
    let mut path = arguments.artifacts.clone();
    path.push(format!("crash-{:016x}", Numbers(input.len() as u64 ^ input.iter().fold(0, mix)).draw()));
    match fs::write(&path, input) {
        Ok(()) => println!("the input is in {}", Path::new(&path).display()),
        Err(error) => {
            println!("cannot write {}: {error}; the input is {input:02x?}", Path::new(&path).display())
        }
    }
    ExitCode::FAILURE
}

fn mix(hash: u64, byte: &u8) -> u64 {
    Numbers(hash ^ u64::from(*byte)).draw()
}

/// A member of the corpus with up to eight changes, or bytes out of nothing.
fn mutant(numbers: &mut Numbers, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus.get(numbers.below(corpus.len())).cloned().unwrap_or_default();
    if corpus.is_empty() || numbers.once_in(50) {
        let length = numbers.below(160);
        input = (0..length).map(|_| numbers.draw().to_le_bytes()[0]).collect();
    }
    for _ in 0..=numbers.below(8) {
        change(numbers, &mut input, corpus);
    }
    input.truncate(LONGEST);
    input
}

fn change(numbers: &mut Numbers, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = numbers.below(input.len());
    let end = (at + 1 + numbers.below(16)).min(input.len());
    let byte = numbers.draw().to_le_bytes()[0];
    match (numbers.below(9), input.get_mut(at)) {
        (0, _) => input.truncate(at),
        (1, _) => drop(input.drain(at.min(end)..end)),
        (2, _) => {
            let copy = input[at.min(end)..end].to_vec();
            input.splice(at..at, copy);
        }
        (3, _) => {
            let word = WORDS[numbers.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        (4, _) => {
            let donor = corpus.get(numbers.below(corpus.len())).map_or(&[][..], Vec::as_slice);
            let from = donor.get(at..).unwrap_or_default();
            let length = from.len().min(1 + numbers.below(16));
            input.splice(at..(at + length).min(input.len()), from[..length].iter().copied());
        }
        (5, Some(found)) => *found = byte,
        (6, Some(found)) => *found = found.wrapping_add(1),
        (_, Some(found)) => *found ^= 1 << (byte % 8),
        (_, None) => input.push(byte),
    }
}
