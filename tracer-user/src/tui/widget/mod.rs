//! Parts that several screens share.

mod area;
mod exchange;
mod incident;

pub(super) use area::split_top;
pub(super) use exchange::{draw as draw_exchange, heading as draw_heading};
pub(super) use incident::{draw as draw_incident, sign};
