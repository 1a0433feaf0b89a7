use std::time::Duration;

use super::*;
use crate::cli::status::join::join;
use crate::cli::status::join::tests::{entry, said, service};
use crate::cli::status::report::Report;
use crate::cli::top::line::Liner;

/// So many addresses of both families, each of a Service of its own, answered by node-a.
pub(in crate::cli::top) fn lines(count: usize) -> Vec<Line> {
    let ip = |number: usize| {
        let (high, low) = (number / 512, number / 2 % 256);
        if number.is_multiple_of(2) {
            format!("10.0.{high}.{low}")
        } else {
            format!("2001:db8::{high:x}:{low:x}")
        }
    };
    let services: Vec<_> =
        (0..count).map(|number| service(&format!("default/s{number:05}"), &[&ip(number)])).collect();
    let addresses = services.iter().map(|one| {
        let mut address = entry(&one.addresses[0].to_string(), &one.service.to_string(), "owner");
        if let Some(counts) = &mut address.entries[0].counts {
            counts.requests = u64::from(one.service.name().ends_with('7')) * 1000;
        }
        address
    });
    let agents = [said("node-a", addresses.collect())];
    let report = Report { addresses: join(&services, &agents, &[], true), ..Report::default() };
    Liner::default().lines(&report, Duration::ZERO)
}

pub(in crate::cli::top) fn model(count: usize, height: usize) -> Model {
    let mut model = Model::default();
    model.take(lines(count), "summary".to_owned(), None);
    model.resize(height);
    model
}

fn press(model: &mut Model, codes: &[KeyCode]) -> Next {
    codes.iter().fold(Next::Nothing, |_, code| model.press(KeyEvent::from(*code)))
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

/// The Services on the screen, and the chosen one.
fn screen(model: &Model) -> (Vec<String>, String) {
    let short = |line: &Line| line.cells[1].trim_start_matches("default/").to_owned();
    let chosen: Vec<String> =
        model.visible().filter(|(_, is_chosen)| *is_chosen).map(|(line, _)| short(line)).collect();
    (model.visible().map(|(line, _)| short(line)).collect(), chosen.join(","))
}

fn at(rows: &[&str], chosen: &str) -> (Vec<String>, String) {
    (rows.iter().map(|row| (*row).to_owned()).collect(), chosen.to_owned())
}

#[test]
fn the_screen_moves_as_little_as_it_must() {
    let mut model = model(6, 3);
    // By address: those of IPv4 first.
    press(&mut model, &typed("sss"));
    assert_eq!(screen(&model), at(&["s00000", "s00002", "s00004"], "s00000"));
    for (codes, expected) in [
        (&[KeyCode::Down, KeyCode::Down][..], at(&["s00000", "s00002", "s00004"], "s00004")),
        (&[KeyCode::Down], at(&["s00002", "s00004", "s00001"], "s00001")),
        (&[KeyCode::Up], at(&["s00002", "s00004", "s00001"], "s00004")),
        (&[KeyCode::PageDown], at(&["s00001", "s00003", "s00005"], "s00005")),
        (&[KeyCode::PageDown], at(&["s00001", "s00003", "s00005"], "s00005")),
        (&[KeyCode::Char('k')], at(&["s00001", "s00003", "s00005"], "s00003")),
        (&[KeyCode::Home], at(&["s00000", "s00002", "s00004"], "s00000")),
        (&[KeyCode::Up, KeyCode::PageUp], at(&["s00000", "s00002", "s00004"], "s00000")),
        (&[KeyCode::End], at(&["s00001", "s00003", "s00005"], "s00005")),
    ] {
        assert_eq!(press(&mut model, codes), Next::Draw);
        assert_eq!(screen(&model), expected, "{codes:?}");
    }
    assert_eq!(model.place(), (6, 6));
    // A larger screen has no empty rows; a smaller one has the chosen row.
    model.resize(5);
    assert_eq!(screen(&model), at(&["s00002", "s00004", "s00001", "s00003", "s00005"], "s00005"));
    model.resize(1);
    assert_eq!(screen(&model), at(&["s00005"], "s00005"));
    model.resize(0);
    assert_eq!(screen(&model), at(&[], ""));
}

#[test]
fn a_filter_is_written_and_taken_away() {
    let mut model = model(20, 3);
    assert_eq!(press(&mut model, &typed("/S0001")), Next::Draw);
    assert!(model.is_typing && model.place() == (1, 10), "{:?}", model.place());
    // Letters are no commands while it is written.
    press(&mut model, &typed("q"));
    assert_eq!((model.place(), screen(&model)), ((0, 0), at(&[], "")));
    press(&mut model, &[KeyCode::Backspace, KeyCode::Char('7'), KeyCode::Enter]);
    assert_eq!(screen(&model), at(&["s00017"], "s00017"));
    assert!(!model.is_typing);
    press(&mut model, &[KeyCode::Esc]);
    assert_eq!((model.place().1, screen(&model).1), (20, "s00017".to_owned()), "what was chosen still is");
    assert_eq!(press(&mut model, &[KeyCode::Esc]), Next::Nothing);
    press(&mut model, &typed("/2001:db8"));
    assert_eq!(model.place().1, 10, "by any column");
    press(&mut model, &[KeyCode::Esc]);
    assert_eq!((model.place().1, model.is_typing), (20, false));
}

#[test]
fn rows_are_in_another_order_after_s_and_r() {
    let mut model = model(20, 2);
    press(&mut model, &typed("s"));
    assert_eq!(screen(&model), at(&["s00007", "s00017"], "s00007"), "by requests");
    press(&mut model, &typed("r"));
    assert_eq!(screen(&model).0, ["s00019", "s00015"]);
    assert!(model.is_reversed);
}

#[test]
fn what_is_chosen_stays_chosen_when_rows_come_and_go() {
    let mut model = model(10, 3);
    press(&mut model, &typed("ssss"));
    press(&mut model, &[KeyCode::PageDown, KeyCode::Down]);
    assert_eq!(screen(&model).1, "s00004");
    model.take(lines(10).into_iter().skip(1).collect(), String::new(), Some("older".to_owned()));
    assert_eq!((screen(&model).1, model.complaint.as_deref()), ("s00004".to_owned(), Some("older")));
    // The chosen one has gone: another one is at its place.
    model.take(lines(2), String::new(), None);
    assert_eq!((screen(&model).1, model.place()), ("s00001".to_owned(), (2, 2)));
    model.take(Vec::new(), String::new(), None);
    assert_eq!((screen(&model), model.place()), (at(&[], ""), (0, 0)));
}

#[test]
fn it_ends_with_q_and_control_c() {
    let mut model = model(1, 1);
    let control = |code| KeyEvent::new(KeyCode::Char(code), KeyModifiers::CONTROL);
    assert_eq!(press(&mut model, &typed("q")), Next::Quit);
    assert_eq!(model.press(control('c')), Next::Quit);
    assert_eq!(model.press(control('q')), Next::Nothing);
    assert_eq!(press(&mut model, &typed("x")), Next::Nothing);
    press(&mut model, &typed("/"));
    assert_eq!(model.press(control('c')), Next::Quit, "also while a filter is written");
}

/// Whoever scrolls waits for nothing that grows with the number of rows.
#[test]
fn scrolling_looks_at_no_more_than_the_screen() {
    let mut model = model(10_000, 50);
    let passes = model.passes;
    for code in [KeyCode::PageDown, KeyCode::Down, KeyCode::End, KeyCode::PageUp, KeyCode::Up, KeyCode::Home]
    {
        for _ in 0..300 {
            assert_eq!(press(&mut model, &[code]), Next::Draw);
            assert_eq!(model.visible().count(), 50);
        }
    }
    assert_eq!(model.passes, passes);
    press(&mut model, &typed("s"));
    assert_eq!(model.passes, passes + 1);
}
