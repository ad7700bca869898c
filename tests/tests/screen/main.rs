//! The screens of the real program, in an emulated terminal.

mod act;
mod beside;
mod leave;
mod load;
mod look;
mod malicious;
mod support;
