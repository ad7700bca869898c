//! Writes the scripted recordings and their expected output into a folder: `scripted FOLDER`.

use std::{env, fs, path::Path};

use anyhow::Context as _;
use tracer_tests::{
    replayed::{events, replay},
    scripted,
};

fn main() -> anyhow::Result<()> {
    let folder = env::args_os().nth(1).context("usage: scripted FOLDER")?;
    for (name, content) in scripted::recordings() {
        let path = Path::new(&folder).join(name).with_extension("tap");
        let expected = replay(name, &events(name, &*content)?);
        fs::write(&path, &content).with_context(|| format!("cannot write {}", path.display()))?;
        fs::write(path.with_extension("json"), &expected).with_context(|| format!("cannot write what {name} gives"))?;
        eprintln!("{name}: {} bytes, which give {} lines", content.len(), expected.lines().count());
    }
    Ok(())
}
