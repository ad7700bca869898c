//! Limits that user space and the probes share.

/// Payload capacities of ring buffer records in bytes ("size classes"), smallest first.
///
/// `bpf_ringbuf_reserve` takes only sizes that the verifier knows. A record is therefore reserved in the smallest class
/// that holds the bytes to copy. Small requests and responses fit the first class; the largest class bounds one copy.
pub const PAYLOAD_CLASSES: [usize; 4] = [256, 1024, 4096, 16384];

/// Largest payload of one data event, in bytes. A longer call becomes several events with rising `offset`.
pub const MAX_PAYLOAD: usize = PAYLOAD_CLASSES[3];

/// Maximum number of processes (thread groups) that are targets at the same time.
pub const MAX_TARGETS: u32 = 16_384;

/// Maximum number of connections in the map of the probes. The least recently used connection is evicted first; it is
/// announced again at its next traffic.
pub const MAX_CONNECTIONS: u32 = 65_536;

/// Default number of bytes captured of one system call. Bytes beyond it are counted, not copied.
pub const DEFAULT_CALL_CAPTURE: u32 = 1 << 20;
