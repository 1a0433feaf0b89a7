//! The model on a screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Size};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::Paragraph;

use super::line::{HEADERS, Line};
use super::model::Model;

#[cfg(test)]
mod tests;

/// Lines of the screen that are neither rows nor the complaint: summary, headers, keys.
const AROUND: u16 = 3;
/// One part of so many of the screen may be the complaint.
const COMPLAINT: u16 = 3;
/// Between two columns.
const GAP: usize = 2;

/// Rows that a screen of this size has room for.
pub(super) fn room(model: &Model, size: Size) -> usize {
    size.height.saturating_sub(AROUND + lines_of(&complaint(model, size))).into()
}

/// What is wrong, with the command that says more at its end: in as many lines as that takes.
fn complaint(model: &Model, size: Size) -> Vec<String> {
    let most = usize::from((size.height / COMPLAINT).max(1));
    let mut lines = wrapped(model.complaint.as_deref().unwrap_or_default(), size.width.into());
    lines.truncate(most);
    lines
}

fn lines_of(lines: &[String]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(u16::MAX)
}

/// Lines of so many characters, cut between words where that is possible; at least one.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (part, letters) in letters.chunks(width.max(1)).enumerate() {
            let used = lines.last().map_or(0, |line| line.chars().count());
            if used > 0 && (part > 0 || used + 1 + letters.len() > width) {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.extend(letters);
            }
        }
    }
    lines
}

/// Draws all of it; of the rows those that are on the screen.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let wrong = complaint(model, frame.area().as_size());
    let lengths = [
        Constraint::Length(1),
        Constraint::Length(lines_of(&wrong)),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [summary, place_of_complaint, headers, rows, keys] = Layout::vertical(lengths).areas(frame.area());
    frame.render_widget(Paragraph::new(model.summary.as_str()).bold(), summary);
    let wrong: Vec<Text<'_>> = wrong.into_iter().map(Text::from).collect();
    frame.render_widget(Paragraph::new(wrong).red(), place_of_complaint);
    let widths = model.widths();
    frame.render_widget(head(model, widths), headers);
    let lines: Vec<Text<'_>> =
        model.visible().map(|(line, is_chosen)| row(line, is_chosen, widths)).collect();
    frame.render_widget(Paragraph::new(lines), rows);
    frame.render_widget(foot(model), keys);
}

fn head<'a>(model: &Model, widths: &[usize; HEADERS.len()]) -> Paragraph<'a> {
    let chosen = model.sort.column();
    let header = |(index, (header, width)): (usize, (&'a str, &usize))| {
        let span = Span::raw(padded(header, *width));
        if index == chosen { span.underlined() } else { span }
    };
    let headers = HEADERS.into_iter().zip(widths).enumerate().map(header);
    Paragraph::new(headers.collect::<Text<'_>>()).reversed()
}

fn row<'a>(line: &Line, is_chosen: bool, widths: &[usize; HEADERS.len()]) -> Text<'a> {
    let style = match (is_chosen, line.is_wrong) {
        (true, _) => Style::new().black().on_cyan(),
        (false, true) => Style::new().red(),
        (false, false) => Style::new(),
    };
    let cells: String = line.cells.iter().zip(widths).map(|(cell, width)| padded(cell, *width)).collect();
    Text::styled(cells, style)
}

fn padded(text: &str, width: usize) -> String {
    let width = width + GAP;
    format!("{text:<width$}")
}

fn foot<'a>(model: &Model) -> Paragraph<'a> {
    let (place, all) = model.place();
    let filter = match (model.is_typing, model.filter.is_empty()) {
        (true, _) => format!("/{}_  Enter keeps it, Esc takes it away", model.filter),
        (false, false) => format!("/{}  Esc takes it away", model.filter),
        (false, true) => {
            let order = if model.is_reversed { "reversed" } else { "r reverse" };
            format!("q quit  ↑↓ PgUp PgDn Home End move  / filter  s sort by another column  {order}")
        }
    };
    Paragraph::new(format!("{place}/{all}  {filter}")).dim()
}
