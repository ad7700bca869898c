//! What fuzz targets share.

pub mod script;
pub mod seeds;
