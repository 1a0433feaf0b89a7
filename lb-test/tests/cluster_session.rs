//! L5: docs/session.md is what a terminal shows. The session is held with a cluster of three nodes, and what differs from one
//! time to the next is masked; `BARELB_WRITE_SESSION=1` writes the page anew. Needs root and the testbed.

use std::fmt::Write;
use std::{env, fs};

use anyhow::ensure;
use lb_test::cluster::Controller;
use lb_test::cluster::manifests::path;
use lb_test::documents::session::{Course, FILE, SCENES, Scene, head, masked};
use lb_test::documents::stage::{self, Stage};

const PAGE: &str = "docs/session.md";
const WRITE: &str = "BARELB_WRITE_SESSION";

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_recorded_session_is_what_a_terminal_shows() {
    let site = stage::site().unwrap();
    let stage = Stage::new(&site.plane).unwrap();
    stage.write(FILE.0, FILE.1).unwrap();
    // Until each has heard each other one, which a busy machine may take a moment for.
    let is_well = |line: &str, text: &str| match line {
        "barelb status --peers" => text.matches(" up ").count() == 6,
        "barelb status" | "barelb top" => text.matches(" 2/2").count() == 2,
        _ => true,
    };
    let say = |scene: &Scene| {
        let words: Vec<String> = scene.command.split(' ').map(str::to_owned).collect();
        let (size, keys) = match scene.course {
            Course::Ends(code) => return stage.run_to(code, scene.place, &site, &words),
            Course::Draws(size, keys) => (size, keys),
        };
        let mut terminal = stage.terminal(&site, &words, size)?;
        terminal.shows(Controller::PATIENCE, |lines| is_well(scene.command, &lines.join("\n")))?;
        terminal.press(keys)?;
        let first = site.vips()[0].to_string();
        let lines = terminal.shows(Controller::PATIENCE, |lines| lines[3].starts_with(&first))?;
        terminal.press("q")?;
        ensure!(terminal.end(Controller::PATIENCE)?.success(), "{}", lines.join("\n"));
        Ok(lines.join("\n") + "\n")
    };
    let say = |scene: &Scene| {
        site.plane.wait_for(Controller::PATIENCE, "agents do not hear each other", |_| {
            Ok(Some(say(scene)?).filter(|text| is_well(scene.command, text)))
        })
    };
    let mut page = head().to_owned();
    for scene in SCENES {
        let text = say(scene).unwrap();
        let (prompt, text) = (scene.prompt(), masked(&text));
        write!(page, "\n{}\n\n```text\n{prompt} {}\n{text}```\n", scene.what, scene.command).unwrap();
    }
    let file = path(PAGE).unwrap();
    if env::var_os(WRITE).is_some() {
        fs::write(&file, &page).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        known == page,
        "{PAGE} is not what a terminal shows: run this test with {WRITE}=1, and read what it has changed\n{page}"
    );
}
