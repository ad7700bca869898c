//! Pictures of the screens for the documentation.

use crate::{
    command::{cargo, perform, root, say},
    compile, setup,
};

pub(crate) fn run() -> anyhow::Result<()> {
    setup::to_build()?;
    let binary = compile::release()?;
    let (recordings, folder) = (root().join("tests/recordings"), root().join("docs/pictures"));
    say(&format!("taking pictures of the screens into {}", folder.display()));
    perform(
        cargo()
            .args(["run", "--quiet", "--package", "tracer-tests", "--bin", "pictures", "--"])
            .args([recordings, folder])
            .env("PIDTAP_BIN", binary),
    )
}
