//! Packages of the distribution.

use std::{path::Path, process::Command};

use anyhow::{Context as _, bail};

use crate::command::{as_root, find, perform, say};

/// A requirement, and the Debian package that fulfils it.
pub(crate) struct Need {
    what: What,
    package: &'static str,
}

enum What {
    Program(&'static str),
    /// A module for Debian's Python.
    PythonModule(&'static str),
    /// A module for Node, as Debian packages it.
    NodeModule(&'static str),
}

const fn program(name: &'static str, package: &'static str) -> Need {
    Need { what: What::Program(name), package }
}

/// libFuzzer is compiled from C++.
pub(crate) const TO_FUZZ: &[Need] = &[program("c++", "build-essential")];

/// Emulators, the first programs of guests, and tools that unpack Debian's kernels.
pub(crate) const TO_BOOT: &[Need] = &[
    program("qemu-system-x86_64", "qemu-system-x86"),
    program("qemu-system-aarch64", "qemu-system-arm"),
    program("busybox", "busybox-static"),
    program("dpkg-deb", "dpkg"),
    program("xz", "xz-utils"),
];

/// Services and clients that live tests trace, and tools that drive and check them.
pub(crate) const ALL: &[Need] = &[
    program("c++", "build-essential"),
    program("nginx", "nginx-light"),
    program("wrk", "wrk"),
    program("go", "golang-go"),
    program("node", "nodejs"),
    program("python3", "python3"),
    Need { what: What::PythonModule("urllib3"), package: "python3-urllib3" },
    Need { what: What::NodeModule("retry"), package: "node-retry" },
    program("curl", "curl"),
    program("wget", "wget"),
    program("ip", "iproute2"),
    program("bpftool", "bpftool"),
    program("tmux", "tmux"),
];

/// Installs packages without starting their services: invoke-rc.d runs /usr/sbin/policy-rc.d, whose status 101 forbids it. Also
/// disables a service that would start at the next boot.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
case " $* " in
*" nginx-light "*) if command -v systemctl > /dev/null; then systemctl disable nginx 2> /dev/null || true; fi ;;
esac
"#;

/// Installs the packages whose requirement is missing.
pub(crate) fn install(needs: &[Need]) -> anyhow::Result<()> {
    let mut missing: Vec<_> =
        needs.iter().filter(|need| !is_there(&need.what)).map(|need| need.package.to_owned()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find("apt-get").is_none() {
        bail!(
            "not installed: {list} (names of Debian's packages); this is not a Debian or Ubuntu system, so install \
             what your system calls them, then run this again"
        );
    }
    say(&format!("installing Debian packages: {list}"));
    if !missing.iter().all(|package| is_known(package)) {
        say("the package lists are missing or old");
        perform(as_root("apt-get").arg("update"))?;
    }
    if let Some(bpftool) = missing.iter().position(|package| package == "bpftool" && !is_known(package)) {
        // Ubuntu packages it with the tools of each kernel.
        let kernel = rustix::system::uname();
        missing[bpftool] = format!("linux-tools-{}", kernel.release().to_string_lossy());
    }
    let install = || perform(as_root("sh").args(["-ec", INSTALL, "install"]).args(&missing));
    if install().is_err() {
        say("that failed; trying again with fresh package lists");
        perform(as_root("apt-get").arg("update"))?;
        install().with_context(|| format!("could not install {list}: install them by hand, then run this again"))?;
    }
    Ok(())
}

fn is_there(what: &What) -> bool {
    match what {
        What::Program(name) => find(name).is_some(),
        What::NodeModule(name) => Path::new("/usr/share/nodejs").join(name).exists(),
        What::PythonModule(name) => {
            let python = Path::new("/usr/bin/python3");
            python.exists()
                && Command::new(python)
                    .args(["-c", &format!("import {name}")])
                    .stderr(std::process::Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success())
        }
    }
}

/// Whether apt has a version of the package to install.
fn is_known(package: &str) -> bool {
    Command::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .output()
        .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}
