//! A buffer that collects lines and passes them on whole.

use std::io::{self, Write};

/// Bytes that are collected before they are written; a pipe takes as much at once.
const WRITE_AT: usize = 64 * 1024;
/// A buffer that grew beyond this for a long line is released.
const KEEP: usize = 1 << 20;

/// A writer that receives only whole lines.
#[derive(Debug)]
pub(super) struct LineBuffer<W> {
    writer: W,
    /// The lines. The text after the last line break is unfinished.
    pub(super) text: Vec<u8>,
}

impl<W: Write> LineBuffer<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, text: Vec::with_capacity(2 * WRITE_AT) }
    }

    /// Ends a line.
    pub(super) fn line_done(&mut self) -> io::Result<()> {
        if self.text.len() < WRITE_AT { Ok(()) } else { self.write_out() }
    }

    /// Passes everything on, and flushes the writer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.writer.flush()
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.writer
    }

    fn write_out(&mut self) -> io::Result<()> {
        // After an error it is not known how much was written; a second write could repeat lines.
        let result = self.writer.write_all(&self.text);
        self.text.clear();
        if self.text.capacity() > KEEP {
            self.text.shrink_to(2 * WRITE_AT);
        }
        result
    }
}
