//! The programs, by tracepoint.

// A module uses only those that stand before it. An empty line between each two: rustfmt sorts adjacent modules by name.

mod message;

mod data;

mod descriptor;

mod process;

mod socket;

mod syscall;
