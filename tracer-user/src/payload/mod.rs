//! Bodies: content decoding, and layout in lines.

pub mod coding;

pub mod body;
