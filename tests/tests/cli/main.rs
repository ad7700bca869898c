//! The program from outside: its output and its exit status. These tests load no probes.

mod bad_input;
mod files;
mod bounds;
mod filter;
mod limits;
mod manual;
mod names;
mod curl;
mod open;
mod output;
mod paste;
mod readers;
