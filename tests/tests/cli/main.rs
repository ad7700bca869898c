//! The program from outside: what it prints where, and how it ends. Nothing here loads probes.

mod bad_input;
mod files;
mod bounds;
mod filter;
mod limits;
mod names;
mod curl;
mod open;
mod output;
mod paste;
mod readers;
