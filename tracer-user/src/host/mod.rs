//! Access to the machine: probes, processes, sockets, files and privileges.

pub mod file;

pub mod confine;

pub mod limits;

pub mod capture;

pub mod process;

pub mod privilege;

pub mod sockdiag;

pub mod task;

pub mod identity;

pub mod launch;

pub mod doctor;
