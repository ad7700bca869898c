//! Bodies: content coding removed, and laid out in lines.

pub mod coding;

pub mod body;
