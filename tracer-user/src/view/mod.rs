//! Views of a trace as plain data, which the screens and other outputs draw.

pub mod curl;
