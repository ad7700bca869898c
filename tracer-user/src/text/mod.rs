//! Text for people: made harmless, with units and times, with secrets masked.

pub mod escape;

pub mod units;

pub mod clock;

pub(crate) mod multipart;

pub mod redact;

pub mod url;
