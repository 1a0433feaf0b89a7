use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::{Color, Modifier};

use super::super::model::tests::model;
use super::*;

/// What a terminal of this size shows, line by line.
fn drawn(model: &mut Model, width: u16, height: u16) -> (Vec<String>, Terminal<TestBackend>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    model.resize(room(model, Size::new(width, height)));
    terminal.draw(|frame| draw(model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..height).map(line).collect(), terminal)
}

#[test]
fn a_screen_has_a_summary_rows_and_keys() {
    let mut model = model(3, 0);
    model.complain("node-b: away".to_owned());
    let (lines, terminal) = drawn(&mut model, 132, 8);
    let expected = [
        "summary",
        "node-b: away",
        "ADDRESS     SERVICES        NODE    REQUESTS/S  REQUESTS  LAST ASKED  BY          INTERFACE  MODE  SINCE  PEERS",
        "10.0.0.0    default/s00000  node-a  0.5         0         3s ago      192.0.2.10  eth0       tcx   2m5s   1/2",
        "10.0.0.1    default/s00002  node-a  0.5         0         3s ago      192.0.2.10  eth0       tcx   2m5s   1/2",
        "2001:db8::  default/s00001  node-a  0.5         0         3s ago      192.0.2.10  eth0       tcx   2m5s   1/2",
        "",
        "1/3  q quit  ↑↓ PgUp PgDn Home End move  / filter  s sort by another column  r reverse",
    ];
    assert_eq!(lines, expected);
    let buffer = terminal.backend().buffer();
    assert_eq!(buffer[(0, 3)].bg, Color::Cyan, "the chosen row");
    assert_eq!(buffer[(0, 4)].bg, Color::Reset);
    assert_eq!(buffer[(0, 1)].fg, Color::Red);
    assert!(buffer[(40, 2)].modifier.contains(Modifier::UNDERLINED), "the column that rows are sorted by");
    assert!(!buffer[(0, 2)].modifier.contains(Modifier::UNDERLINED));
}

/// The command that says more stands at the end.
#[test]
fn what_is_wrong_is_shown_as_a_whole_where_there_is_room() {
    let mut model = model(9, 0);
    model.complain("node-b: no answer; `kubectl -n x logs agent-b` says how it is".to_owned());
    let (lines, _) = drawn(&mut model, 30, 12);
    let expected = ["summary", "node-b: no answer; `kubectl -n", "x logs agent-b` says how it is"];
    assert_eq!(lines[..3], expected);
    assert!(
        lines[3].starts_with("ADDRESS") && lines[10].starts_with("2001:") && lines[11].starts_with("1/9 ")
    );
    let (lines, _) = drawn(&mut model, 30, 5);
    assert!(lines[2].starts_with("ADDRESS") && lines[3].starts_with("10."), "{lines:#?}");
    assert_eq!(wrapped("abcdefgh ij kl", 5), ["abcde", "fgh", "ij kl"]);
    assert_eq!(wrapped("", 5), [""]);
}

#[test]
fn a_filter_is_shown_while_it_is_written_and_after() {
    let mut model = model(3, 0);
    for character in "/s00002".chars() {
        model.press(KeyEvent::from(KeyCode::Char(character)));
    }
    let (lines, _) = drawn(&mut model, 60, 8);
    assert_eq!(lines[7], "1/1  /s00002_  Enter keeps it, Esc takes it away");
    model.press(KeyEvent::from(KeyCode::Enter));
    let (lines, _) = drawn(&mut model, 60, 8);
    assert_eq!(lines[7], "1/1  /s00002  Esc takes it away");
}

#[test]
fn a_screen_that_is_too_small_shows_what_it_can() {
    for (width, height) in [(0, 0), (1, 1), (0, 9), (9, 0), (10, 3), (20, 4), (5, 40)] {
        drawn(&mut model(100, 0), width, height);
    }
}

/// Ten thousand rows are drawn as fifty are: by those that are on the screen.
#[test]
fn of_many_rows_those_on_the_screen_are_drawn() {
    let mut model = model(10_000, 0);
    for code in [KeyCode::Char('s'), KeyCode::Char('s'), KeyCode::Char('s'), KeyCode::End] {
        model.press(KeyEvent::from(code));
    }
    let (lines, _) = drawn(&mut model, 200, 54);
    let rows: Vec<&String> = lines[3..53].iter().collect();
    assert!(rows.iter().all(|row| row.starts_with("2001:db8::")), "{lines:#?}");
    assert!(rows[49].contains("default/s09999") && lines[53].starts_with("10000/10000  "), "{lines:#?}");
}
