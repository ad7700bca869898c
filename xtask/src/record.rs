//! Recording the committed recordings again.

use clap::Args;

use crate::{
    command::{cargo, perform, root, say},
    compile, setup, test,
    times::Times,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Only recordings of live tests with this prefix.
    name: Option<String>,
    /// Only recordings that are made by script: no program runs, and root is not needed.
    #[arg(long, conflicts_with = "name")]
    scripted: bool,
}

/// Live tests that keep recordings: they write them into the folder that PIDTAP_RECORDINGS names.
const KEEPERS: [&str; 3] = ["record::", "retry::", "hang::"];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = root().join("tests/recordings");
    say(&format!("writing the scripted recordings into {}", folder.display()));
    perform(cargo().args(["run", "--quiet", "--package", "tracer-tests", "--bin", "scripted", "--"]).arg(&folder))?;
    if options.scripted {
        return Ok(());
    }
    setup::to_test()?;
    let binary = compile::release()?;
    say(&format!("recording services into {}", folder.display()));
    let mut arguments: Vec<String> =
        KEEPERS.iter().map(|module| format!("{module}{}", options.name.as_deref().unwrap_or_default())).collect();
    arguments.push("--nocapture".to_owned());
    test::live(&binary, &[("PIDTAP_RECORDINGS", &folder)], &arguments, &mut Times::new())
}
