//! Opens the recording of `--record`.

use std::{io, path::Path};

use anyhow::Context as _;

use crate::{
    app::{message::say, sinks::Sinks, writing::EventWriter},
    host::file::{self, Identity, Opened},
    recording::Recorder,
    text::escape::Foreign,
};

/// Opens the file and starts the thread that records. Refuses a file that something else writes to. `launched`: the command of `run`
/// shares standard output.
///
/// # Errors
///
/// Those of the file, and of a header that cannot be written.
pub(super) fn open(path: &Path, force: bool, sinks: &Sinks, launched: bool) -> anyhow::Result<EventWriter> {
    let command = if launched { Identity::of(io::stdout()) } else { None };
    let results = sinks.identities.iter().map(|identity| (*identity, "the results go"));
    let others =
        [(Identity::of(io::stderr()), "the messages of pidtap go"), (command, "the output of the command goes")];
    let others = others.into_iter().filter_map(|(identity, by)| Some((identity?, by)));
    let taken: Vec<(Identity, &'static str)> = results.chain(others).collect();
    let what = || format!("cannot record to {}", Foreign::from(path));
    let opened = file::create(path, file::Options { force, taken: &taken }).with_context(what)?;
    if let Opened::Pipe(_) = &opened {
        say(&format!("named pipe {} has no reader yet: the recording waits for one", Foreign::from(path)));
    }
    let header = sinks.marking.header();
    EventWriter::start(opened, move |output| Recorder::new(output, &header)).with_context(what)
}
