//! What is on the screen, and what keys do about it.
//!
//! All rows are looked at when there are new ones, or when another order or filter is chosen; moving about looks at those
//! that are shown.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::line::{HEADERS, Key, Line, Sort};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    lines: Vec<Line>,
    widths: [usize; HEADERS.len()],
    /// Of these, those that the filter lets through, in order.
    shown: Vec<usize>,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// The filter is being written.
    pub(super) is_typing: bool,
    /// The row that is chosen, of those that are shown.
    cursor: usize,
    /// The first one on the screen.
    first: usize,
    /// Rows that the screen has room for.
    height: usize,
    /// What the cluster looks like, in one line.
    pub(super) summary: String,
    /// What is wrong.
    pub(super) complaint: Option<String>,
    /// How often all rows were looked at.
    passes: usize,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Draw again.
    Draw,
    /// Nothing has changed.
    Nothing,
    /// End.
    Quit,
}

impl Model {
    /// New rows, and what is to be said of all of them. What was chosen stays chosen, where it still is.
    pub(super) fn take(&mut self, lines: Vec<Line>, summary: String, complaint: Option<String>) {
        let chosen = self.chosen().map(|line| line.key.clone());
        self.widths = std::array::from_fn(|column| {
            let cells = lines.iter().map(|line| line.cells[column].chars().count());
            cells.chain([HEADERS[column].len()]).max().unwrap_or_default()
        });
        self.lines = lines;
        (self.summary, self.complaint) = (summary, complaint);
        self.arrange(chosen.as_ref());
    }

    /// The last look went wrong: what is shown is older.
    pub(super) fn complain(&mut self, why: String) {
        self.complaint = Some(why);
    }

    /// The screen has room for so many rows.
    pub(super) fn resize(&mut self, height: usize) {
        self.height = height;
        self.move_to(self.cursor);
    }

    /// The rows that are on the screen, the chosen one marked.
    pub(super) fn visible(&self) -> impl Iterator<Item = (&Line, bool)> {
        let rows = self.shown.iter().enumerate().skip(self.first).take(self.height);
        rows.filter_map(|(place, index)| Some((self.lines.get(*index)?, place == self.cursor)))
    }

    /// How wide each column is, of all rows: that does not change while one moves about.
    pub(super) fn widths(&self) -> &[usize; HEADERS.len()] {
        &self.widths
    }

    /// The number of the chosen row from 1, and how many there are.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.shown.len().min(self.cursor + 1), self.shown.len())
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Next::Quit } else { Next::Nothing };
        }
        if self.is_typing { self.write(key.code) } else { self.command(key.code) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal has many keys")]
    fn command(&mut self, code: KeyCode) -> Next {
        let page = self.height.max(1);
        let last = self.shown.len().saturating_sub(1);
        match code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.move_to(self.cursor.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.move_to(self.cursor + 1),
            KeyCode::PageUp => self.move_to(self.cursor.saturating_sub(page)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.move_to(self.cursor + page),
            KeyCode::Home | KeyCode::Char('g') => self.move_to(0),
            KeyCode::End | KeyCode::Char('G') => self.move_to(last),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc if self.filter.is_empty() => return Next::Nothing,
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange_again();
            }
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange_from_the_top();
            }
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.arrange_from_the_top();
            }
            _ => return Next::Nothing,
        }
        Next::Draw
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal has many keys")]
    fn write(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
                self.arrange_again();
            }
            KeyCode::Backspace => {
                if self.filter.pop().is_none() {
                    self.is_typing = false;
                }
                self.arrange_again();
            }
            KeyCode::Char(character) => {
                self.filter.extend(character.to_lowercase());
                self.arrange_again();
            }
            KeyCode::Up => self.move_to(self.cursor.saturating_sub(1)),
            KeyCode::Down => self.move_to(self.cursor + 1),
            _ => return Next::Nothing,
        }
        Next::Draw
    }

    fn chosen(&self) -> Option<&Line> {
        self.lines.get(*self.shown.get(self.cursor)?)
    }

    fn arrange_again(&mut self) {
        let chosen = self.chosen().map(|line| line.key.clone());
        self.arrange(chosen.as_ref());
    }

    fn arrange_from_the_top(&mut self) {
        self.cursor = 0;
        self.arrange(None);
    }

    /// Filters and sorts all rows.
    fn arrange(&mut self, chosen: Option<&Key>) {
        self.passes += 1;
        let lines = &self.lines;
        let is_let_through = |(_, line): &(usize, &Line)| self.filter.is_empty() || line.has(&self.filter);
        let mut shown: Vec<usize> =
            lines.iter().enumerate().filter(is_let_through).map(|(index, _)| index).collect();
        shown.sort_by(|one, other| {
            let order = self.sort.compare(&lines[*one], &lines[*other]);
            if self.is_reversed { order.reverse() } else { order }
        });
        let place = chosen.and_then(|key| shown.iter().position(|index| lines[*index].key == *key));
        self.shown = shown;
        self.move_to(place.unwrap_or(self.cursor));
    }

    /// Chooses a row, and moves the screen as little as that needs.
    fn move_to(&mut self, place: usize) {
        self.cursor = place.min(self.shown.len().saturating_sub(1));
        let lowest = (self.cursor + 1).saturating_sub(self.height);
        // No empty rows at the end while there are some before the beginning.
        let most = self.shown.len().saturating_sub(self.height);
        self.first = self.first.min(self.cursor).max(lowest).min(most.max(lowest));
    }
}

#[cfg(test)]
pub(super) mod tests;
