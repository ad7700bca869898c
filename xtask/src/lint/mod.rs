//! Format, the order of modules, clippy, and the purity of the core.

mod order;

use crate::{
    command::{cargo, perform, root, say},
    compile, fuzz,
};

pub(crate) fn run() -> anyhow::Result<()> {
    say("format");
    perform(cargo().args(["fmt", "--all", "--check"]))?;
    perform(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    say("the order of modules");
    for folder in ["tracer-user/src", "tracer-ebpf/src"] {
        order::check(&root().join(folder))?;
    }
    say("clippy: all crates with all features");
    perform(cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    say("clippy: the fuzz targets");
    fuzz::lint()?;
    say("clippy: the pure core and the screens, which have no clock, file, socket or thread");
    for (features, targets) in [("", "--lib"), ("", "--tests"), ("tui", "--lib")] {
        perform(cargo().args([
            "clippy",
            "--package",
            "tracer-user",
            "--no-default-features",
            "--features",
            features,
            targets,
            "--",
            "-D",
            "warnings",
        ]))?;
    }
    // A folder of its own: under the variables below, cargo would build many crates again, here and then elsewhere.
    let folder = compile::target_folder()?.join("lint-probes");
    for arch in ["x86_64", "aarch64"] {
        say(&format!("clippy: the eBPF programs for {arch}"));
        // build-std is unstable, hence the variable; aya-build, with which tracer-user's build script builds them, does
        // the same and names the architecture in the same way.
        perform(
            cargo()
                .args(["clippy", "--package", "tracer-ebpf", "--bins", "-Z", "build-std=core", "--target-dir"])
                .arg(&folder)
                .args(["--target", "bpfel-unknown-none", "--", "-D", "warnings"])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{arch}\"")),
        )?;
    }
    Ok(())
}
