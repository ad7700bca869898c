//! Recordings: the events of a trace as a file (`.tap`), to be opened again later or elsewhere.
//!
//! `docs/recording-format.md` describes the format byte by byte. In short: a header that names the machine, then
//! records, each a checksum and one event as it came out of the ring buffer. The checksum runs on from record to
//! record, so that the file is good up to its last whole event wherever it was cut off, and no record can be altered,
//! dropped or moved without the next checksum failing.
//!
//! Nothing here opens a file: [`Writer`] and [`Reader`] work on any `Write` and `Read`. [`Recorder`] is what a live
//! trace uses: when the disk is full it stops, counts what it could not keep, and lets the trace go on.

mod format;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;
mod writer;

pub use format::{Header, MAX_EVENT_LENGTH, VERSION};
pub use reader::{EarlyEnd, EarlyEndReason, ReadError, Reader};
pub use recorder::Recorder;
pub use writer::{Lost, WriteError, Writer};
