//! The programs.

mod data;
mod descriptor;
mod message;
mod process;
mod socket;
mod syscall;
