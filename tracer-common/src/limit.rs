//! Limits that both sides must agree on.

/// Usable payload bytes of the ring buffer records, smallest first ("size classes").
///
/// `bpf_ringbuf_reserve` takes only sizes known to the verifier, so a record is reserved in the smallest class that
/// holds what is to be copied. Small requests and answers fit the first; the largest bounds one copy.
pub const PAYLOAD_CLASSES: [usize; 4] = [256, 1024, 4096, 16384];

/// Largest payload of one data event; a longer call becomes several events with rising `offset`.
pub const MAX_PAYLOAD: usize = PAYLOAD_CLASSES[3];

/// Processes (thread groups) that can be targets at the same time.
pub const MAX_TARGETS: u32 = 16_384;

/// Connections that the kernel side remembers. Least recently used ones are forgotten first; a forgotten connection
/// that speaks again is announced again.
pub const MAX_CONNECTIONS: u32 = 65_536;

/// Default bytes captured of one system call; what exceeds it is counted, not copied.
pub const DEFAULT_CALL_CAPTURE: u32 = 1 << 20;
