//! Numbers as small bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar for each number. The highest fills its cell, 0 is a blank.
pub(super) fn line(numbers: impl IntoIterator<Item = u64>) -> String {
    let numbers: Vec<u64> = numbers.into_iter().collect();
    let most = numbers.iter().copied().max().unwrap_or(0);
    scaled(numbers, most)
}

/// A bar for each number. `most` and higher ones fill their cells.
pub(super) fn scaled(numbers: impl IntoIterator<Item = u64>, most: u64) -> String {
    let bar = |number: u64| match number {
        0 => ' ',
        _ => BARS[((u128::from(number) * 8).div_ceil(u128::from(most.max(1))) as usize).clamp(1, 8) - 1],
    };
    numbers.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_fills_its_cell() {
        assert_eq!(line([0, 1, 4, 8]), " ▁▄█");
        assert_eq!(line([0, 0]), "  ");
        assert_eq!(line([u64::MAX, 1]), "█▁");
        assert_eq!(scaled([1, 2, 9], 8), "▁▂█");
    }
}
