//! Hex dumps.

use std::fmt::Write as _;

use super::layout::{Kind, Lines};

/// Bytes per line; they fit in 76 columns.
const WIDTH: usize = 16;

/// `000010  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1··`
pub(super) fn lay_out(bytes: &[u8], lines: &mut Lines) {
    for (index, chunk) in bytes.chunks(WIDTH).enumerate() {
        if lines.is_full() {
            return lines.give_up();
        }
        let line = lines.line();
        line.push(Kind::Faint, &format!("{:06x}", index * WIDTH));
        let mut digits = String::with_capacity(4 * WIDTH);
        for position in 0..WIDTH {
            digits.push_str(if position % 8 == 0 { "  " } else { " " });
            // A String takes everything.
            let _ = match chunk.get(position) {
                Some(byte) => write!(digits, "{byte:02x}"),
                None => digits.write_str("  "),
            };
        }
        digits.push_str("  ");
        line.push(Kind::Plain, &digits);
        let shown: String =
            chunk.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '·' }).collect();
        line.push(Kind::String, &shown);
        lines.end_line();
    }
}
