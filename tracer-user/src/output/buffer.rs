//! Lines on their way out: collected, and handed on whole.

use std::io::{self, Write};

/// So much is collected before it is written without being asked to; a pipe takes as much at once.
const WRITE_AT: usize = 64 * 1024;
/// A buffer that grew beyond this for one long line is given back.
const KEEP: usize = 1 << 20;

/// A writer that is only ever given whole lines.
#[derive(Debug)]
pub(super) struct LineBuffer<W> {
    writer: W,
    /// The lines. What stands behind a line break is unfinished.
    pub(super) text: Vec<u8>,
}

impl<W: Write> LineBuffer<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, text: Vec::with_capacity(2 * WRITE_AT) }
    }

    /// A line was finished.
    pub(super) fn line_done(&mut self) -> io::Result<()> {
        if self.text.len() < WRITE_AT { Ok(()) } else { self.write_out() }
    }

    /// Hands everything on.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.writer.flush()
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.writer
    }

    fn write_out(&mut self) -> io::Result<()> {
        // After an error nobody knows how much was taken: writing it again could double lines.
        let result = self.writer.write_all(&self.text);
        self.text.clear();
        if self.text.capacity() > KEEP {
            self.text.shrink_to(2 * WRITE_AT);
        }
        result
    }
}
