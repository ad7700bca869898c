//! Which kernels, and where their packages are. To add one: an entry here; to add a scene: `scene.rs`.

/// A file of a Debian mirror.
pub(super) struct Package {
    /// Name of the file in the cache, without its ending.
    pub(super) name: &'static str,
    /// Where it is, below a mirror.
    pub(super) url: &'static str,
    pub(super) sha256: &'static str,
    /// Where its successor is listed: a line of apt's source list, without its type and options.
    pub(super) source: &'static str,
    /// The package of the newest one: itself, or one that depends on it.
    pub(super) newest: &'static str,
    pub(super) architecture: &'static str,
}

/// A machine that is emulated.
pub(super) struct Machine {
    pub(super) emulator: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) console: &'static str,
}

/// What must happen on a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Everything.
    Works,
    /// pidtap says that the kernel lacks something, and ends with status 5.
    Refuses,
}

/// A kernel of the matrix.
pub(super) struct Kernel {
    /// Its version as people say it.
    pub(super) version: &'static str,
    pub(super) package: Package,
    pub(super) machine: &'static Machine,
    pub(super) expected: Expected,
}

const X86_64: Machine = Machine { emulator: "qemu-system-x86_64", options: &["-machine", "q35"], console: "ttyS0" };

const BOOKWORM_SECURITY: &str = "http://deb.debian.org/debian-security bookworm-security main";
const BULLSEYE: &str = "http://deb.debian.org/debian bullseye main";
const TRIXIE: &str = "http://deb.debian.org/debian trixie main";

pub(super) const MATRIX: &[Kernel] = &[
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
