//! The phases of an exchange, drawn to scale.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    event::Timestamp,
    tui::{
        pen::Pen,
        theme::{Theme, Tone},
    },
    view::phase::{Phase, PhaseState},
};

/// Columns of names, of durations, and of the words behind them.
const NAME: u16 = 8;
const DURATION: u16 = 7;
const REMARK: u16 = 20;

/// Draws one phase in one line.
pub(super) fn draw(phase: &Phase, (start, total): (Timestamp, u64), line: Rect, buffer: &mut Buffer, theme: Theme) {
    let tone = match phase.state {
        PhaseState::Over => Tone::Plain,
        PhaseState::Open => Tone::Open,
        PhaseState::Broken(_) => Tone::Bad,
    };
    let mut pen = Pen::new(buffer, line, theme);
    pen.skip(2).cell(NAME, tone, phase.name);
    let width = pen.left().saturating_sub(DURATION + REMARK + 3).clamp(4, 100);
    pen.put(Tone::Faint, "│").put(tone, bar(phase, (start, total), width)).put(Tone::Faint, "│");
    pen.right(DURATION, tone, phase.duration()).put(tone, phase.state.words());
}

/// The bar of a phase. An open one has its own sign; one that is too short for a column still has one.
fn bar(phase: &Phase, (start, total): (Timestamp, u64), width: u16) -> String {
    let place = |time: Timestamp| (u128::from(time.since(start)) * u128::from(width) / u128::from(total)) as u16;
    let from = place(phase.from).min(width - 1);
    let to = place(phase.to).clamp(from + 1, width);
    let sign = if phase.state == PhaseState::Open { '▒' } else { '█' };
    (0..width).map(|column| if (from..to).contains(&column) { sign } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::START;

    fn at(micros: u64) -> Timestamp {
        Timestamp(START.0 + micros * 1_000)
    }

    #[test]
    fn bars_are_to_scale_and_never_empty() {
        let phase = |from, to, state| Phase { name: "wait", from: at(from), to: at(to), state, at_least: false };
        let scale = (START, 100_000);
        assert_eq!(bar(&phase(0, 50, PhaseState::Over), scale, 10), "█████     ");
        assert_eq!(bar(&phase(50, 100, PhaseState::Open), scale, 10), "     ▒▒▒▒▒");
        assert_eq!(bar(&phase(100, 100, PhaseState::Over), scale, 10), "         █");
        assert_eq!(bar(&phase(33, 33, PhaseState::Over), scale, 10), "   █      ");
    }
}
