//! The kernels and their packages. A new kernel is an entry here; a new scene is one in `scene.rs`.

/// A file of a Debian mirror.
pub(super) struct Package {
    /// Name of the file in the cache, without its ending.
    pub(super) name: &'static str,
    /// Address on a mirror.
    pub(super) url: &'static str,
    pub(super) sha256: &'static str,
    /// The index with its successor: a line of apt's source list, without type and options.
    pub(super) source: &'static str,
    /// The package by which apt finds the newest version: this package, or one that depends on it.
    pub(super) newest: &'static str,
    pub(super) architecture: &'static str,
}

/// An emulated machine.
pub(super) struct Machine {
    pub(super) emulator: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) accelerator: &'static str,
    /// The emulator's name of the processor, with its properties.
    pub(super) processor: &'static str,
    pub(super) console: &'static str,
    /// The usual name of the processor.
    pub(super) architecture: &'static str,
    /// Programs of its guests, where this machine's own do not run.
    pub(super) foreign: Option<Foreign>,
}

/// The origin of programs for guests of another architecture.
pub(super) struct Foreign {
    /// A Rust target with static programs, so that guests need no libraries. rust-lld links it, so that this machine needs no C compiler
    /// for it.
    pub(super) target: &'static str,
    pub(super) busybox: Package,
}

/// The expected behaviour on a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Every scene passes.
    Works,
    /// Every scene passes. A slow guest has fewer.
    WorksSlowly,
    /// pidtap reports a lack of the kernel, and ends with status 5.
    Refuses,
}

/// A kernel of the matrix.
pub(super) struct Kernel {
    /// The usual name of its version.
    pub(super) version: &'static str,
    pub(super) package: Package,
    pub(super) machine: &'static Machine,
    pub(super) expected: Expected,
}

const X86_64: Machine = Machine {
    emulator: "qemu-system-x86_64",
    options: &["-machine", "q35"],
    accelerator: "tcg,thread=multi",
    processor: "max",
    console: "ttyS0",
    architecture: "x86-64",
    foreign: None,
};

const AARCH64: Machine = Machine {
    emulator: "qemu-system-aarch64",
    options: &["-machine", "virt"],
    // With a thread for each processor, about one run in seventy observed no system call of any process, and no loss: the kernel
    // patches its code to switch a tracepoint on, and the other processor's thread may translate that code at the same moment.
    accelerator: "tcg,thread=single",
    // The kernel signs each return address. An emulation of the architecture's cipher (QARMA) takes more than half of the guest's time;
    // the emulator's own function is fast.
    processor: "max,pauth-impdef=on",
    console: "ttyAMA0",
    architecture: "aarch64",
    foreign: Some(Foreign {
        target: "aarch64-unknown-linux-musl",
        busybox: Package {
            name: "busybox-static_1.37.0-6+b9_arm64",
            url: "http://deb.debian.org/debian/pool/main/b/busybox/busybox-static_1.37.0-6+b9_arm64.deb",
            sha256: "c833be48abfa16bc19c4966ec93e289ff1ce5d2f1476cad3a57bd105378cd15c",
            source: TRIXIE,
            newest: "busybox-static",
            architecture: "arm64",
        },
    }),
};

const BOOKWORM_SECURITY: &str = "http://deb.debian.org/debian-security bookworm-security main";
const BULLSEYE: &str = "http://deb.debian.org/debian bullseye main";
const TRIXIE: &str = "http://deb.debian.org/debian trixie main";

/// The kernels, the slowest first: two guests run at once.
pub(super) const MATRIX: &[Kernel] = &[
    Kernel {
        version: "6.12",
        package: Package {
            name: "linux-image-6.12.117+deb13-cloud-arm64_6.12.117-1",
            url: "http://deb.debian.org/debian/pool/main/l/linux-signed-arm64/linux-image-6.12.117+deb13-cloud-arm64_6.12.117-1_arm64.deb",
            sha256: "cc33e288505c3271539beab498aeb4f25e27b8f7c0c49ddb6c506b6d3c50c22f",
            source: TRIXIE,
            newest: "linux-image-cloud-arm64",
            architecture: "arm64",
        },
        machine: &AARCH64,
        expected: Expected::WorksSlowly,
    },
    Kernel {
        version: "6.1",
        package: Package {
            name: "linux-image-6.1.0-56-cloud-amd64_6.1.192-2",
            url: "http://deb.debian.org/debian-security/pool/updates/main/l/linux-signed-amd64/linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb",
            sha256: "e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee",
            source: BOOKWORM_SECURITY,
            newest: "linux-image-cloud-amd64",
            architecture: "amd64",
        },
        machine: &X86_64,
        expected: Expected::Works,
    },
    Kernel {
        version: "6.12",
        package: Package {
            name: "linux-image-6.12.117+deb13-cloud-amd64_6.12.117-1",
            url: "http://deb.debian.org/debian/pool/main/l/linux-signed-amd64/linux-image-6.12.117+deb13-cloud-amd64_6.12.117-1_amd64.deb",
            sha256: "e9893e5295d0549b8852611f12a4b8b5f6cc4b8128dcc2086b9847793b904ab7",
            source: TRIXIE,
            newest: "linux-image-cloud-amd64",
            architecture: "amd64",
        },
        machine: &X86_64,
        expected: Expected::Works,
    },
    Kernel {
        version: "5.10",
        package: Package {
            name: "linux-image-5.10.0-32-cloud-amd64_5.10.223-1",
            url: "http://deb.debian.org/debian/pool/main/l/linux-signed-amd64/linux-image-5.10.0-32-cloud-amd64_5.10.223-1_amd64.deb",
            sha256: "fb4a1229952d892138532c1d9f40a7fd0bd408e4dcf969c12e4524b6a89fdcb8",
            source: BULLSEYE,
            newest: "linux-image-cloud-amd64",
            architecture: "amd64",
        },
        machine: &X86_64,
        expected: Expected::Refuses,
    },
];

impl Kernel {
    /// The version and the processor.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.version, self.machine.architecture)
    }

    /// Whether a word of the command line selects this kernel: a prefix of its version, or its processor.
    pub(super) fn is_meant(&self, word: &str) -> bool {
        self.version.starts_with(word) || self.machine.architecture == word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_version_or_processor() {
        let chosen = |word: &str| MATRIX.iter().filter(|kernel| kernel.is_meant(word)).map(Kernel::name).collect();
        let names: Vec<String> = chosen("aarch64");
        assert_eq!(names, ["6.12 aarch64"]);
        let names: Vec<String> = chosen("6.12");
        assert_eq!(names, ["6.12 aarch64", "6.12 x86-64"]);
    }

    #[test]
    fn every_package_has_a_folder_of_its_own_and_a_whole_checksum() {
        let foreign = [&AARCH64, &X86_64].into_iter().filter_map(|machine| machine.foreign.as_ref());
        let packages: Vec<&Package> =
            MATRIX.iter().map(|kernel| &kernel.package).chain(foreign.map(|foreign| &foreign.busybox)).collect();
        for (index, package) in packages.iter().enumerate() {
            assert!(packages[..index].iter().all(|other| other.name != package.name), "{} stands twice", package.name);
            assert!(package.sha256.len() == 64 && package.url.ends_with(&format!("{}.deb", package.architecture)));
        }
    }
}
