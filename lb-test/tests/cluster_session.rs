//! L5: docs/session.md is what a terminal shows. The session is held with a cluster of three nodes, and what differs from one
//! time to the next is masked; `BARELB_WRITE_SESSION=1` writes the page anew. Needs root and the testbed.

use std::fmt::Write;
use std::{env, fs};

use lb_test::cluster::Controller;
use lb_test::cluster::manifests::path;
use lb_test::documents::proof::Place;
use lb_test::documents::session::{SCENES, head, masked};
use lb_test::documents::stage::{self, Stage};

const PAGE: &str = "docs/session.md";
const WRITE: &str = "BARELB_WRITE_SESSION";

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_recorded_session_is_what_a_terminal_shows() {
    let site = stage::site().unwrap();
    let stage = Stage::new(&site.plane).unwrap();
    let say = |line: &str, place: Place| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        stage.run(place, &site, &words)
    };
    // Until each has heard each other one, which a busy machine may take a moment for.
    let is_well = |line: &str, text: &str| match line {
        "barelb status --peers" => text.matches(" up ").count() == 6,
        "barelb status" => text.matches(" 2/2").count() == 2,
        _ => true,
    };
    let say = |line: &str, place: Place| {
        site.plane.wait_for(Controller::PATIENCE, "agents do not hear each other", |_| {
            Ok(Some(say(line, place)?).filter(|text| is_well(line, text)))
        })
    };
    let mut page = head().to_owned();
    for scene in SCENES {
        let text = say(scene.command, scene.place).unwrap();
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
