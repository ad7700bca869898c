//! The handling of each kind of event.

mod data;
mod descriptor;
mod process;
mod socket;
mod tcp;
mod tick;
