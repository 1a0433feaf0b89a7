//! The model on a screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::Paragraph;

use super::line::{HEADERS, Line};
use super::model::Model;

#[cfg(test)]
mod tests;

/// Lines of the screen that are not rows: summary, complaint, headers, keys.
const AROUND: u16 = 4;
/// Between two columns.
const GAP: usize = 2;

/// Rows that a screen of this height has room for.
pub(super) fn room(height: u16) -> usize {
    height.saturating_sub(AROUND).into()
}

/// Draws all of it; of the rows those that are on the screen.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let lengths = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [summary, complaint, headers, rows, keys] = Layout::vertical(lengths).areas(frame.area());
    frame.render_widget(Paragraph::new(model.summary.as_str()).bold(), summary);
    frame.render_widget(Paragraph::new(model.complaint.as_deref().unwrap_or_default()).red(), complaint);
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
