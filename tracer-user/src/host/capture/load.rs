//! Loading and attaching of the probes.

use std::{error::Error, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{ProgramError, RawTracePoint},
};
use tracer_common::{
    control::{global, map},
    limit,
    offset::OFFSETS,
};

use super::{
    CaptureOptions, btf::Btf, cast, drain::LossWords, error::CaptureError, handle::Maps, refusal::VerifierLog,
};
use crate::host::limits;

/// The eBPF object; empty if it could not be built.
pub(super) static PROBES: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pidtap-probes"));

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Programs, named after their tracepoints. `sys_exit` is last: when it starts to send events, the others already
/// maintain the set of targets.
const PROGRAMS: [(&str, Need); 8] = [
    ("sched_process_fork", Need::Must),
    ("sched_process_exec", Need::Must),
    ("sched_process_exit", Need::Must),
    ("inet_sock_set_state", Need::Must),
    ("tcp_retransmit_skb", Need::May),
    ("tcp_receive_reset", Need::May),
    ("tcp_send_reset", Need::May),
    ("sys_exit", Need::Must),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Tracing is impossible without the program.
    Must,
    /// Kernels may lack the tracepoint, and tracing loses little without it.
    May,
}

/// Loaded and attached probes.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) ring: RingBuf<MapData>,
    pub(super) losses: PerCpuArray<MapData, LossWords>,
    pub(super) maps: Maps,
    pub(super) missing: Vec<&'static str>,
    /// Whether the probes load kernel memory directly instead of by helper calls.
    pub(super) direct: bool,
}

/// Whether this program was built with the probes.
pub fn carries_probes() -> bool {
    !PROBES.is_empty()
}

pub(super) fn load(options: &CaptureOptions) -> Result<Loaded, CaptureError> {
    if PROBES.is_empty() {
        return Err(CaptureError::NoProbes);
    }
    if options.targets.is_empty() {
        return Err(CaptureError::NoTarget);
    }
    if !options.ring_size.is_power_of_two() || options.ring_size < 4096 {
        return Err(CaptureError::RingSize(options.ring_size));
    }
    let kernel = Kernel::look()?;
    // Direct loads are cheaper. Kernels before 6.2 lack the cast, so each read is a helper call.
    let helper_reads = Kernel { cast: None, ..kernel.clone() };
    let loaded = if options.helper_reads || kernel.cast.is_none() {
        load_with(options, &helper_reads)
    } else {
        load_with(options, &kernel).or_else(|error| match error {
            CaptureError::Verifier { .. } => load_with(options, &helper_reads).map_err(|_| error),
            other => Err(other),
        })
    };
    loaded.map_err(|mut error| {
        if let CaptureError::Verifier { program, log, .. } = &mut error {
            log.save(program);
        }
        error
    })
}

/// Properties of the running kernel, from its BTF.
#[derive(Clone)]
struct Kernel {
    /// Offset in bytes for each read-only global.
    offsets: Vec<(&'static str, u32)>,
    /// Support for direct loads, if the kernel has the cast.
    cast: Option<Cast>,
}

/// BTF IDs for `bpf_rdonly_cast`.
#[derive(Clone, Copy)]
struct Cast {
    /// ID of the function.
    function: u32,
    /// ID of a structure that begins with a 64-bit integer.
    word: u32,
}

impl Kernel {
    fn look() -> Result<Self, CaptureError> {
        const CAST: &str = "bpf_rdonly_cast";
        const WORD: &str = "timespec64";
        let data = std::fs::read(KERNEL_BTF).map_err(|source| {
            shortage(&source, || format!("read the kernel's type information, {KERNEL_BTF}"))
                .unwrap_or(CaptureError::NoBtf { source })
        })?;
        let mut wanted: Vec<&str> = OFFSETS.iter().map(|offset| offset.structure).collect();
        wanted.extend([CAST, WORD]);
        let btf = Btf::parse(&data, &wanted).map_err(|source| CaptureError::Btf { source })?;
        let offsets = OFFSETS
            .iter()
            .map(|offset| Ok((offset.global, btf.offset(offset.structure, offset.member)?)))
            .collect::<Result<_, _>>()
            .map_err(|source| CaptureError::Btf { source })?;
        let cast = btf.function(CAST).zip(btf.structure_named(WORD)).map(|(function, word)| Cast { function, word });
        Ok(Self { offsets, cast })
    }
}

fn load_with(options: &CaptureOptions, kernel: &Kernel) -> Result<Loaded, CaptureError> {
    let mut ebpf = load_object(options, kernel)?;
    let ring = RingBuf::try_from(take(&mut ebpf, map::EVENTS)?).map_err(unusable)?;
    let losses = PerCpuArray::try_from(take(&mut ebpf, map::LOSSES)?).map_err(unusable)?;
    let mut maps = Maps {
        connections: HashMap::try_from(take(&mut ebpf, map::CONNECTIONS)?).map_err(unusable)?,
        restraints: HashMap::try_from(take(&mut ebpf, map::RESTRAINTS)?).map_err(unusable)?,
        restraint_filter: Array::try_from(take(&mut ebpf, map::RESTRAINT_FILTER)?).map_err(unusable)?,
        targets: HashMap::try_from(take(&mut ebpf, map::TARGETS)?).map_err(unusable)?,
        target_filter: Array::try_from(take(&mut ebpf, map::TARGET_FILTER)?).map_err(unusable)?,
    };
    for tgid in &options.targets {
        maps.add_first_target(*tgid).map_err(unusable)?;
    }
    let missing = attach(&mut ebpf)?;
    Ok(Loaded { ebpf, ring, losses, maps, missing, direct: kernel.cast.is_some() })
}

/// Creates the maps and sets all read-only globals.
fn load_object(options: &CaptureOptions, kernel: &Kernel) -> Result<Ebpf, CaptureError> {
    let single = match options.targets[..] {
        // With an owner, the probes must be able to drop the target.
        [only] if !options.follow && options.owner.is_none() => only,
        _ => 0,
    };
    let most = limit::MAX_PAYLOAD as u32 * 1024;
    let numbers = [
        (global::SELF_TGID, std::process::id()),
        (global::SINGLE_TARGET, single),
        (global::FOLLOW, u32::from(options.follow)),
        (global::OWNED, u32::from(options.owner.is_some())),
        (global::OWNER_UID, options.owner.map_or(0, |(uid, _)| uid)),
        (global::OWNER_GID, options.owner.map_or(0, |(_, gid)| gid)),
        (global::DIRECT, u32::from(kernel.cast.is_some())),
        (global::WORD_TYPE, kernel.cast.map_or(0, |cast| cast.word)),
        (global::CALL_CAPTURE, options.call_capture.clamp(1, most)),
        (global::WAKE_BYTES, options.ring_size / 4),
    ];
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(map::EVENTS, options.ring_size);
    for (name, value) in kernel.offsets.iter().chain(&numbers) {
        loader.override_global(name, value, true);
    }
    let object = cast::resolve(PROBES, kernel.cast.map(|cast| cast.function)).ok_or_else(|| CaptureError::Load {
        operation: "prepare the probes".to_owned(),
        reason: "they are not an ELF object; rebuild pidtap with `cargo xtask build`".to_owned(),
    })?;
    loader.load(object.bytes()).map_err(|error| match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            if is_permission(&io_error) {
                permission(format!("create the map {name}"))
            } else if let Some(shortage) = shortage(&io_error, || format!("create the map {name}")) {
                shortage
            } else if name == map::EVENTS {
                CaptureError::NoRingBuffer { size: options.ring_size, source: io_error }
            } else {
                CaptureError::Load { operation: format!("create the map {name}"), reason: io_error.to_string() }
            }
        }
        other => failed("prepare the probes", &other),
    })
}

/// Loads and attaches the programs. Returns those whose tracepoint this kernel lacks.
fn attach(ebpf: &mut Ebpf) -> Result<Vec<&'static str>, CaptureError> {
    let mut missing = Vec::new();
    for (name, _) in PROGRAMS {
        program(ebpf, name)?.load().map_err(|error| load_error(name, error))?;
    }
    for (name, need) in PROGRAMS {
        match program(ebpf, name)?.attach(name) {
            Ok(_) => {}
            Err(_) if need == Need::May => missing.push(name),
            Err(error) => return Err(attach_error(name, error)),
        }
    }
    Ok(missing)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, CaptureError> {
    ebpf.program_mut(name)
        .and_then(|program| <&mut RawTracePoint>::try_from(program).ok())
        .ok_or_else(|| incomplete(&format!("the program {name}")))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, CaptureError> {
    ebpf.take_map(name).ok_or_else(|| incomplete(&format!("the map {name}")))
}

/// Error for an object that does not match this code.
fn incomplete(what: &str) -> CaptureError {
    CaptureError::Load {
        operation: "prepare the probes".to_owned(),
        reason: format!("{what} is missing from them; rebuild pidtap with `cargo xtask build`"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn unusable(error: MapError) -> CaptureError {
    match &error {
        MapError::SyscallError(inner) if is_permission(&inner.io_error) => {
            permission("access the maps of the probes".to_owned())
        }
        _ => failed("access the maps of the probes", &error),
    }
}

fn load_error(program: &'static str, error: ProgramError) -> CaptureError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            // A shortage is not the verifier's: the kernel allocates descriptors and memory before and after it runs.
            if let Some(shortage) = shortage(&io_error, || format!("load the probe {program}")) {
                return shortage;
            }
            let log = verifier_log.to_string();
            // The verifier also returns EPERM or EACCES, but only the verifier leaves a log.
            if is_permission(&io_error) && log.trim().is_empty() {
                return permission(format!("load the probe {program}"));
            }
            CaptureError::Verifier { program, source: io_error, log: VerifierLog::new(log) }
        }
        other => failed(&format!("load the probe {program}"), &other),
    }
}

fn attach_error(tracepoint: &'static str, error: ProgramError) -> CaptureError {
    match error {
        ProgramError::SyscallError(inner) if is_permission(&inner.io_error) => {
            permission(format!("attach to the raw tracepoint {tracepoint}"))
        }
        ProgramError::SyscallError(inner) => {
            shortage(&inner.io_error, || format!("attach to the raw tracepoint {tracepoint}"))
                .unwrap_or(CaptureError::NoTracepoint { tracepoint, source: inner.io_error })
        }
        other => failed(&format!("attach to the raw tracepoint {tracepoint}"), &other),
    }
}

/// Returns the error of a resource limit, which says nothing about the kernel or the probes.
fn shortage(error: &io::Error, operation: impl FnOnce() -> String) -> Option<CaptureError> {
    let copy = || error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
    limits::is_shortage(error).then(|| CaptureError::Shortage { operation: operation(), source: copy() })
}

/// Error without a variant of its own.
fn failed(operation: &str, error: &(dyn Error + 'static)) -> CaptureError {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(shortage) =
            cause.downcast_ref::<io::Error>().and_then(|cause| shortage(cause, || operation.to_owned()))
        {
            return shortage;
        }
        next = cause.source();
    }
    CaptureError::Load { operation: operation.to_owned(), reason: chain(error) }
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn permission(operation: String) -> CaptureError {
    CaptureError::Permission { operation, missing: missing_capabilities() }
}

/// Names the capabilities that the probes need and this process lacks.
fn missing_capabilities() -> String {
    /// Bits in `/proc/self/status`. `CAP_SYS_ADMIN` includes both.
    const NEEDED: [(u32, &str); 2] = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
    const CAP_SYS_ADMIN: u32 = 21;
    let effective = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let Some(effective) = effective else { return "unknown".to_owned() };
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<&str> = NEEDED.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    if missing.is_empty() || has(CAP_SYS_ADMIN) {
        return "no capability; a security module, kernel lockdown or a container denies it".to_owned();
    }
    missing.join(" and ")
}

/// Text of an error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
