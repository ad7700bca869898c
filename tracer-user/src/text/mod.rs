//! Text for people: escaping, units, times, and masking of secrets.

pub mod escape;

pub mod units;

pub mod clock;

pub(crate) mod multipart;

pub mod redact;

pub mod url;
