//! What a terminal shows after it was told something.

/// See the module.
#[derive(Debug)]
pub(super) struct Screen {
    cells: Vec<Vec<char>>,
    /// Column and row from 0.
    place: (usize, usize),
    has_cursor: bool,
    is_alternate: bool,
}

impl Screen {
    /// One of so many columns and rows, after all of this.
    pub(super) fn after(said: &[u8], (columns, rows): (u16, u16)) -> Self {
        let cells = vec![vec![' '; columns.into()]; rows.into()];
        let mut screen = Self { cells, place: (0, 0), has_cursor: true, is_alternate: false };
        let text = String::from_utf8_lossy(said);
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '\u{1b}' => screen.sequence(&mut rest),
                '\r' => screen.place.0 = 0,
                '\n' => screen.place.1 += 1,
                character if character.is_control() => {}
                character => screen.put(character),
            }
        }
        screen
    }

    /// Line by line, without blanks at the ends.
    pub(super) fn lines(&self) -> Vec<String> {
        self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    pub(super) fn has_cursor(&self) -> bool {
        self.has_cursor
    }

    /// It shows the picture of a program, and not what was there before.
    pub(super) fn is_alternate(&self) -> bool {
        self.is_alternate
    }

    fn put(&mut self, character: char) {
        let (column, row) = self.place;
        if let Some(cell) = self.cells.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = character;
        }
        self.place.0 += 1;
    }

    /// A control sequence (ECMA-48, 5.4): its parameters, and the letter that says what it does.
    fn sequence(&mut self, rest: &mut std::str::Chars<'_>) {
        if rest.next() != Some('[') {
            return;
        }
        let mut parameters = String::new();
        let letter = rest.find(|letter| {
            let is_end = ('@'..='~').contains(letter);
            if !is_end {
                parameters.push(*letter);
            }
            is_end
        });
        match (letter, parameters.as_str()) {
            (Some('H'), place) => {
                let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(1_usize);
                let mut numbers = place.split(';');
                let (row, column) = (number(numbers.next()), number(numbers.next()));
                self.place = (column.saturating_sub(1), row.saturating_sub(1));
            }
            (Some('J'), "" | "2") => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            (Some(switch @ ('h' | 'l')), "?25") => self.has_cursor = switch == 'h',
            (Some(switch @ ('h' | 'l')), "?1049") => {
                self.is_alternate = switch == 'h';
                self.cells.iter_mut().for_each(|row| row.fill(' '));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stand_where_they_are_put() {
        let said = "one\r\ntwo\u{1b}[3;4Hä\u{1b}[1;31mb\u{1b}[m\u{1b}[1;1HO";
        let screen = Screen::after(said.as_bytes(), (6, 3));
        assert_eq!(screen.lines(), ["One", "two", "   äb"]);
        let screen = Screen::after(b"x\x1b[?1049h\x1b[?25l\x1b[9;9Hbeyond\x1b[2Jy", (4, 2));
        assert_eq!(screen.lines(), ["", ""]);
        assert!(screen.is_alternate() && !screen.has_cursor());
    }
}
