//! The documents hold together: every command in them is understood and run by a test, every path and link leads
//! somewhere, and numbers that are quoted are those of their source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind;
use lb_test::cluster::manifests::path;
use lb_test::documents::proof::{BLOCKS, COMMANDS, Proof, setup_of};
use lb_test::documents::stage::filled;
use lb_test::documents::{Command, all, commands, links, mentions, text};
use lb_userspace::cli::Cli;

/// Folders of the checkout that commands name.
const FOLDERS: [&str; 8] =
    ["manifests/", "charts/", "docs/", "lb-test/", "lb-core/", "lb-userspace/", "testbed/", "xtask/"];

/// The arguments of `barelb`, also where kubectl or a path leads to it.
fn of_barelb(words: &[String]) -> Option<Vec<String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match words[..] {
        ["barelb" | "target/release/barelb", ..] => &words[1..],
        ["kubectl", "barelb", ..] => &words[2..],
        [..] => words
            .split(|word| *word == "--")
            .nth(1)
            .filter(|rest| rest.first() == Some(&"barelb"))?
            .get(1..)?,
    };
    Some(["barelb"].iter().chain(rest).map(|word| filled(word)).collect())
}

#[test]
fn every_command_of_barelb_is_understood() {
    let mut count = 0;
    for command in commands().unwrap() {
        let Some(arguments) = of_barelb(&command.words) else { continue };
        count += 1;
        let error = Cli::try_parse_from(&arguments).err();
        let ends =
            |error: &clap::Error| matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        let error = error.filter(|error| !ends(error));
        assert!(error.is_none(), "{}: {}", command.snippet.place(), error.unwrap());
    }
    assert!(count > 20, "{count} commands");
    for mention in mentions().unwrap() {
        let Some(arguments) = of_barelb(&mention.words) else { continue };
        let error = Cli::try_parse_from(&arguments).err();
        let unknown = error.filter(|error| error.kind() == ErrorKind::InvalidSubcommand);
        assert!(unknown.is_none(), "{}: {}", mention.snippet.place(), unknown.unwrap());
    }
}

#[test]
fn every_command_is_run_by_a_test_or_it_is_said_why_not() {
    let (mut used, mut missing) = (BTreeSet::new(), Vec::new());
    for command in commands().unwrap().into_iter().filter(|command| setup_of(&command.snippet).is_none()) {
        let line = command.line();
        if !COMMANDS.iter().any(|(known, _)| *known == line) {
            missing.push(format!("{}: {line}", command.snippet.place()));
        }
        used.insert(line);
    }
    assert!(
        missing.is_empty(),
        "no test runs these commands: add them to lb-test/src/documents/proof.rs with what runs them, or why nothing \
         can\n{}",
        missing.join("\n")
    );
    let unused: Vec<_> =
        COMMANDS.iter().map(|(line, _)| *line).filter(|line| !used.contains(*line)).collect();
    assert!(
        unused.is_empty(),
        "no document has these commands of lb-test/src/documents/proof.rs: {unused:?}"
    );
    let lines: BTreeSet<_> = COMMANDS.iter().map(|(line, _)| line).collect();
    assert_eq!(lines.len(), COMMANDS.len(), "a command has two rows");
}

#[test]
fn every_block_that_is_run_is_one_of_a_document() {
    let blocks: Vec<_> = all().unwrap().into_iter().filter(|snippet| snippet.is_block).collect();
    for (document, start, _) in BLOCKS {
        let found =
            blocks.iter().filter(|block| block.document == *document && block.text.starts_with(start));
        assert!(found.count() >= 1, "{document} has no block that begins with {start}");
    }
}

#[test]
fn every_test_that_is_named_exists_and_every_reason_is_one() {
    for (line, proof) in COMMANDS {
        match proof {
            Proof::Test(file, name) => {
                let source = fs::read_to_string(path(file).unwrap()).unwrap();
                assert!(source.contains(&format!("fn {name}(")), "{line}: {name} is no test of {file}");
            }
            Proof::Never(reason) => assert!(reason.len() > 10, "{line}: {reason}"),
            Proof::Run(..) => {}
        }
    }
}

#[test]
fn every_path_in_a_command_exists() {
    for Command { snippet, words } in commands().unwrap() {
        for word in words.iter().flat_map(|word| word.split('=')) {
            let of_ours =
                FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(char::is_uppercase);
            assert!(!of_ours || Path::new(&path(word).unwrap()).exists(), "{}: no {word}", snippet.place());
        }
        // Cargo knows a test by the name of its file.
        let named = words.windows(2).find(|pair| pair[0] == "--test");
        if let Some(name) = named.map(|pair| &pair[1]).filter(|_| words[0] == "cargo") {
            let file = path(&format!("lb-test/tests/{name}.rs")).unwrap();
            assert!(Path::new(&file).exists(), "{}: there is no test {name}", snippet.place());
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    assert_eq!(links::broken().unwrap(), [""; 0]);
}

/// In the README's table each number stands in the document that the row gives as its source.
#[test]
fn the_readmes_numbers_are_those_of_their_sources() {
    let readme = text("README.md").unwrap();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| measured |")).skip(2);
    let mut count = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (result, source) = (cells[2], cells[3]);
        let document = source.split(['(', '#', ')']).nth(1).unwrap();
        let known: BTreeSet<String> = numbers(&text(document).unwrap()).collect();
        for number in numbers(result) {
            assert!(known.contains(&number), "README.md says {number}, {document} does not: {row}");
            count += 1;
        }
    }
    assert!(count > 5, "{count} numbers");
}

fn numbers(text: &str) -> impl Iterator<Item = String> {
    let pieces = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    pieces.map(|piece| piece.trim_matches('.').to_owned()).filter(|piece| !piece.is_empty())
}
