//! Builds the eBPF object into `OUT_DIR/pidtap-probes`, so that the binary carries it.
//!
//! Needs `bpf-linker` and `rust-src`; `cargo xtask setup` installs both. Without the `live` feature, or where the
//! linker is missing (an editor, `cargo check`, the pure tests), an empty object is left instead: everything compiles,
//! and the program says at run time that it was built without probes.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The object that `bytes_of_probes!` includes.
const OBJECT: &str = "pidtap-probes";
/// Must agree with xtask's `setup`.
const BPF_LINKER_VERSION: &str = "0.10.3";

fn main() -> anyhow::Result<()> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let object = out_dir.join(OBJECT);
    println!("cargo:rerun-if-env-changed=PATH");
    println!("cargo:rerun-if-env-changed=PIDTAP_TOOLS");
    println!("cargo:rerun-if-changed=../tracer-common");
    if let Some(linker) = installed_linker() {
        // Where it does not exist yet, cargo looks again each time: `setup` is then followed by a build with probes.
        println!("cargo:rerun-if-changed={}", linker.display());
    }
    if env::var_os("CARGO_FEATURE_LIVE").is_none() {
        fs::write(&object, [])?;
        return Ok(());
    }
    let Some(path) = path_with_linker() else {
        println!("cargo:warning=bpf-linker is not installed: building without probes; run `cargo xtask setup`");
        fs::write(&object, [])?;
        return Ok(());
    };
    // SAFETY: a build script is single-threaded until it spawns something.
    unsafe {
        env::set_var("PATH", path);
        // build-std is unstable; this is the documented way to use it with the compiler whose LLVM bpf-linker matches.
        env::set_var("RUSTC_BOOTSTRAP", "1");
    }
    // Every profile and feature set has the same object. They build it in one folder, so that `core` is compiled once.
    let shared = shared_folder(&out_dir).unwrap_or_else(|| out_dir.clone());
    fs::create_dir_all(&shared).with_context(|| format!("cannot create {}", shared.display()))?;
    // Two builds may run at once, one for each profile.
    let lock = File::create(shared.join("lock")).context("cannot create the lock of the probes")?;
    lock.lock().context("cannot lock the probes")?;
    // SAFETY: as above.
    unsafe {
        env::set_var("OUT_DIR", &shared);
    }
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = root.parent().context("the package has no parent folder")?.join("tracer-ebpf");
    aya_build::build_ebpf(
        [aya_build::Package {
            name: "tracer-ebpf",
            root_dir: root.to_str().context("the path is not UTF-8")?,
            ..Default::default()
        }],
        aya_build::Toolchain::Custom(&toolchain),
    )?;
    let built = shared.join(OBJECT);
    if built != object {
        fs::copy(&built, &object).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    Ok(())
}

/// The folder of the architecture in cargo's target folder, such as `target/probes/x86_64`. The target folder holds the tag that
/// keeps caches out of backups.
fn shared_folder(out_dir: &Path) -> Option<PathBuf> {
    let target = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
    Some(target.join("probes").join(env::var_os("CARGO_CFG_TARGET_ARCH")?))
}

/// `PATH` with a folder in front that has `bpf-linker`, or `PATH` itself where it has one.
fn path_with_linker() -> Option<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(linker) = installed_linker().filter(|linker| linker.is_file()) {
        let dir = linker.parent().map(Into::into);
        return env::join_paths(dir.into_iter().chain(env::split_paths(&path))).ok();
    }
    env::split_paths(&path).any(|dir| dir.join("bpf-linker").is_file()).then_some(path)
}

/// Where `setup` puts the linker.
fn installed_linker() -> Option<PathBuf> {
    Some(tools_dir()?.join(format!("bpf-linker-{BPF_LINKER_VERSION}")).join("bin").join("bpf-linker"))
}

/// Where `cargo xtask setup` puts tools: `$PIDTAP_TOOLS`, else `pidtap` in the user's cache folder.
fn tools_dir() -> Option<PathBuf> {
    if let Some(dir) = env::var_os("PIDTAP_TOOLS") {
        return Some(PathBuf::from(dir));
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(cache.join("pidtap"))
}
