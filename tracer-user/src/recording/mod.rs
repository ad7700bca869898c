//! Recordings: the events of a trace in a file (`.tap`), for replay later or on another machine.
//!
//! `docs/recording-format.md` describes the format byte by byte. A header names the machine. Records follow, each a
//! checksum and one event as it left the ring buffer. Each checksum also covers all previous records. A truncated file
//! is therefore valid up to its last complete event, and the next checksum fails if a record is altered, dropped or
//! moved.
//!
//! This module opens no files: [`Writer`] and [`Reader`] use any `Write` and `Read`. A live trace uses [`Recorder`], an
//! [`EventSink`], which stops on a write error such as a full disk, counts the lost events, and lets the trace continue.

mod format;
mod reader;
mod recorder;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use format::{Header, MAX_EVENT_LENGTH, VERSION};
pub use reader::{EarlyEnd, EarlyEndReason, ReadError, Reader};
pub use recorder::Recorder;
pub use sink::EventSink;
pub use writer::{Lost, WriteError, Writer};
