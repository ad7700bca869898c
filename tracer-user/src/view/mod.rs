//! Views of the store as plain data: sentences, timelines, phases. Screens draw them with cells and colours; a report can draw them
//! in its own way.

// A module uses only those that stand before it. An empty line between each two: rustfmt sorts adjacent modules by name.

pub mod curl;

pub mod tense;

pub mod narrow;

pub mod viewpoint;

pub mod histogram;

pub mod members;

pub mod exchange;

pub mod phase;

pub mod subject;

pub mod line;

pub mod retry;

pub mod hang;

pub mod fact;

pub mod bars;
