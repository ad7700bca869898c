//! Pictures of screens, as SVG: what a terminal shows, cell by cell.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// Width and height of a cell, in pixels.
const WIDTH: u32 = 8;
const HEIGHT: u32 = 17;
/// From the top of a cell to the baseline of its letters.
const ASCENT: u32 = 13;
/// Margin around the screen.
const MARGIN: u32 = 14;
const BACKGROUND: &str = "#14171c";
const FOREGROUND: &str = "#d6dae0";
/// The 16 colours of terminals, legible on the background.
const COLOURS: [&str; 16] = [
    "#2a2f38", "#f2707a", "#8cc570", "#e2b457", "#6cabf5", "#c98ae8", "#4fc1cc", "#c3c9d3", "#6b7484", "#ff8f98",
    "#a7de8c", "#f4cb74", "#8fc3ff", "#dba6f5", "#73dbe4", "#ffffff",
];

/// The look of a run of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    foreground: Color,
    background: Color,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let (mut foreground, mut background) = (cell.fgcolor(), cell.bgcolor());
        if cell.inverse() {
            // Explicit default colours, so that inverse video can swap them.
            let own = |colour, other| if colour == Color::Default { other } else { colour };
            (foreground, background) = (own(background, DARK), own(foreground, LIGHT));
        }
        let (bold, dim) = (cell.bold(), cell.dim());
        Self { foreground, background, bold, dim, italic: cell.italic(), underline: cell.underline() }
    }
}

const DARK: Color = Color::Rgb(0x14, 0x17, 0x1c);
const LIGHT: Color = Color::Rgb(0xd6, 0xda, 0xe0);

/// A run of text with one look in a row.
struct Run {
    column: u32,
    columns: u32,
    text: String,
    look: Look,
}

/// The screen as an SVG. `title` is its text alternative.
pub fn svg(screen: &Screen, title: &str) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (u32::from(columns) * WIDTH + 2 * MARGIN, u32::from(rows) * HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13.3\" xml:space=\"preserve\">\n\
         <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        escaped(title)
    );
    for row in 0..rows {
        let top = MARGIN + u32::from(row) * HEIGHT;
        for run in runs(screen, row, columns) {
            draw(&mut svg, &run, top);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The runs of a row. A character of two columns is a run of its own, as its width differs between fonts.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut alone = false;
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else { continue };
        let look = Look::of(cell);
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let wide = cell.is_wide();
        match runs.last_mut() {
            Some(last) if last.look == look && !wide && !alone => {
                last.text.push_str(text);
                last.columns += 1;
            }
            _ => runs.push(Run { column: column.into(), columns: 1 + u32::from(wide), text: text.to_owned(), look }),
        }
        alone = wide;
    }
    runs
}

fn draw(svg: &mut String, run: &Run, top: u32) {
    let (left, width) = (MARGIN + run.column * WIDTH, run.columns * WIDTH);
    if run.look.background != Color::Default {
        let fill = colour(run.look.background, BACKGROUND);
        let _ = writeln!(svg, r#"<rect x="{left}" y="{top}" width="{width}" height="{HEIGHT}" fill="{fill}"/>"#);
    }
    // Blanks at both ends are not drawn.
    let text = run.text.trim_end();
    let start = text.len() - text.trim_start().len();
    let text = &text[start..];
    if text.is_empty() {
        return;
    }
    let before = start as u32;
    let columns = if run.text.chars().count() == 1 { run.columns } else { text.chars().count() as u32 };
    let _ = write!(
        svg,
        r#"<text x="{}" y="{}" textLength="{}" fill="{}""#,
        left + before * WIDTH,
        top + ASCENT,
        columns * WIDTH,
        colour(run.look.foreground, FOREGROUND)
    );
    for (on, attribute) in [
        (run.look.bold, r#" font-weight="bold""#),
        (run.look.dim, r#" opacity="0.6""#),
        (run.look.italic, r#" font-style="italic""#),
        (run.look.underline, r#" text-decoration="underline""#),
    ] {
        if on {
            svg.push_str(attribute);
        }
    }
    let _ = writeln!(svg, ">{}</text>", escaped(text));
}

fn colour(colour: Color, default: &str) -> String {
    match colour {
        Color::Default => default.to_owned(),
        Color::Idx(index @ 0..16) => COLOURS[usize::from(index)].to_owned(),
        // The colour cube and the greys of terminals with 256 colours.
        Color::Idx(index @ 16..232) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let index = index - 16;
            format!("#{:02x}{:02x}{:02x}", level(index / 36), level(index / 6 % 6), level(index % 6))
        }
        Color::Idx(index) => {
            let level = 8 + 10 * (index - 232);
            format!("#{level:02x}{level:02x}{level:02x}")
        }
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

/// Escapes text for XML. U+FFFD replaces characters that XML excludes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &str) -> String {
        let size = |number| std::num::NonZeroU16::new(number).expect("not 0");
        let mut parser = vt100::Parser::new(size(2), size(20), 0);
        parser.process(bytes.as_bytes());
        svg(parser.screen(), "a & b")
    }

    #[test]
    fn text_keeps_its_place_and_its_look() {
        let svg = of("ab \x1b[1;31mred\x1b[0m\r\n  \x1b[7mturned\x1b[0m 漢x");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        for part in [
            "<title>a &amp; b</title>",
            r##"<text x="14" y="27" textLength="16" fill="#d6dae0">ab</text>"##,
            r##"<text x="38" y="27" textLength="24" fill="#f2707a" font-weight="bold">red</text>"##,
            r##"<rect x="30" y="31" width="48" height="17" fill="#d6dae0"/>"##,
            r##"<text x="30" y="44" textLength="48" fill="#14171c">turned</text>"##,
            r##"<text x="86" y="44" textLength="16" fill="#d6dae0">漢</text>"##,
            r##"<text x="102" y="44" textLength="8" fill="#d6dae0">x</text>"##,
        ] {
            assert!(svg.contains(part), "{part} in\n{svg}");
        }
    }

    #[test]
    fn bytes_of_screens_stay_text() {
        let svg = of("<b>\"&'\u{fffe}");
        assert!(svg.contains("&lt;b&gt;&quot;&amp;&#39;"), "{svg}");
        assert!(!svg.contains("<b>") && !svg.contains('\u{fffe}'), "{svg}");
        assert_eq!(escaped("\x1b\0"), "\u{fffd}\u{fffd}");
    }
}
