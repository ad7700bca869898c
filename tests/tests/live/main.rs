//! The real program on real processes. Needs root; see `guard::live`.

mod capabilities;
mod confine;
mod demo;
mod descriptors;
mod hang;
mod hostile;
mod hostile_names;
mod late;
mod limits;
mod life;
mod loss;
mod mode;
mod one_file;
mod permit;
mod readers;
mod record;
mod retry;
mod scene;
mod services;
mod shell;
mod sockets;
mod stuck;
mod support;
mod terminal;
mod user;
mod volume;
