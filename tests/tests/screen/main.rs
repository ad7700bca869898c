//! The screens of the real program, in a terminal that is not there.

mod act;
mod beside;
mod leave;
mod load;
mod look;
mod malicious;
mod support;
