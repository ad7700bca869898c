//! Recordings of live tests: each replays to the lines that were printed live, and `cargo xtask record` keeps it.

use std::{env, fs, path::Path, process::Command};

use crate::tracer::binary;

/// Replays a recording with the real program and compares the lines with `json`. Copies both into the folder that
/// `PIDTAP_RECORDINGS` names, if it is set.
///
/// # Panics
///
/// The replay fails, or gives other lines.
pub fn keep(name: &str, path: &Path, json: &str) {
    keep_with(name, path, json, &[]);
}

/// Like [`keep`], for a trace whose options change what is reported. `replay.rs` has the options of the committed recordings.
///
/// # Panics
///
/// As [`keep`].
pub fn keep_with(name: &str, path: &Path, json: &str, options: &[&str]) {
    let replayed = Command::new(binary().expect("pidtap"))
        .args(["open", "-o", "json", "--show-secrets"])
        .args(options)
        .arg(path)
        .output()
        .expect("pidtap opens it");
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let replayed = String::from_utf8(replayed.stdout).expect("JSON is UTF-8");
    for (live, replayed) in json.lines().zip(replayed.lines()) {
        assert_eq!(live, replayed, "{name}: live, and replayed");
    }
    assert_eq!(json, replayed, "{name}");
    if let Some(folder) = env::var_os("PIDTAP_RECORDINGS") {
        let to = Path::new(&folder).join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::copy(path, to.with_extension("tap")).expect("the recording can be kept");
        fs::write(to.with_extension("json"), json).expect("the expectation can be kept");
        eprintln!("kept {name}: {} bytes", fs::metadata(path).map(|data| data.len()).unwrap_or_default());
    }
}
