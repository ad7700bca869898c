//! Styles. Colour only repeats the meaning of signs and words, so a terminal without colours loses nothing.

use ratatui::style::{Color, Modifier, Style};

/// Set of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// No colours: bold, reversed and underlined text only.
    None,
    /// The 16 colours of every terminal, those that can be read on black.
    #[default]
    Dark,
    /// Colours that are readable on white.
    Light,
}

/// Meaning of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// A heading, or the important part of a line.
    Strong,
    /// A detail.
    Faint,
    /// A success.
    Good,
    /// Slow, or a warning.
    Warn,
    /// A failure.
    Bad,
    /// Something that is open.
    Open,
    /// A name: of a header, a key of JSON.
    Name,
    /// A value: text.
    Text,
    /// A value: a number, true, false, null.
    Number,
    /// A match of a search.
    Match,
    /// The selected row.
    Selected,
    /// A key that can be pressed.
    Key,
}

/// Styles for tones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Theme {
    palette: Palette,
}

impl Theme {
    /// A theme.
    pub fn new(palette: Palette) -> Self {
        Self { palette }
    }

    /// The style of a tone.
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let emphasis = match tone {
            Tone::Strong | Tone::Bad | Tone::Key | Tone::Name => plain.add_modifier(Modifier::BOLD),
            Tone::Faint => plain.add_modifier(Modifier::DIM),
            Tone::Selected => plain.add_modifier(Modifier::REVERSED),
            Tone::Match => plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
            _ => plain,
        };
        let colour = match (self.palette, tone) {
            (Palette::None, _) | (_, Tone::Plain | Tone::Strong | Tone::Faint | Tone::Selected | Tone::Match) => {
                return emphasis;
            }
            (_, Tone::Bad) => Color::Red,
            (_, Tone::Good) | (Palette::Dark, Tone::Text) => Color::Green,
            (Palette::Dark, Tone::Warn) => Color::Yellow,
            (Palette::Light, Tone::Warn) | (_, Tone::Number) => Color::Magenta,
            (Palette::Dark, Tone::Open | Tone::Key) | (Palette::Light, Tone::Text) => Color::Cyan,
            (Palette::Light, Tone::Open | Tone::Key | Tone::Name) => Color::Blue,
            (Palette::Dark, Tone::Name) => Color::LightBlue,
        };
        emphasis.fg(colour)
    }
}
