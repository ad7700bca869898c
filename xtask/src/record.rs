//! Making the committed recordings again.

use clap::Args;

use crate::{
    command::{root, say},
    compile, setup, test,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Only recordings whose name contains this.
    name: Option<String>,
}

/// The live tests whose names begin with `record` write what they traced where PIDTAP_RECORDINGS says.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    setup::to_test()?;
    let binary = compile::release()?;
    let folder = root().join("tests/recordings");
    say(&format!("recording real services into {}", folder.display()));
    let filter = options.name.as_ref().map_or_else(|| "record".to_owned(), |name| format!("record::{name}"));
    test::live(&binary, &[("PIDTAP_RECORDINGS", &folder)], &[filter, "--nocapture".to_owned()])
}
