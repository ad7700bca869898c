//! What fuzz targets share.

pub mod pasted;
pub mod planted;
pub mod script;
pub mod seeds;
