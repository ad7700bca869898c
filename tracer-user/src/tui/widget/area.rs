//! Parts of an area.

use ratatui::layout::Rect;

/// The first `height` lines of an area, and the rest.
pub(in crate::tui) fn split_top(area: Rect, height: u16) -> [Rect; 2] {
    let height = height.min(area.height);
    [Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area }]
}
