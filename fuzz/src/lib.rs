//! Shared code of the fuzz targets.

pub mod pasted;
pub mod planted;
pub mod script;
pub mod seeds;
