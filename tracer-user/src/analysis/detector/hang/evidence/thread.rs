//! State of a thread of the target.

use strum::IntoStaticStr;

use crate::analysis::detector::Value;

/// Activity of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Doing {
    /// The thread is stopped by a signal or a debugger.
    Stopped,
    /// The thread computes.
    OnCpu,
    /// The thread waits for a lock, a condition, or another thread (`futex`).
    Lock,
    /// The thread sleeps.
    Sleep,
    /// The thread waits for a call that this process makes.
    OutboundCall,
    /// The thread waits on a socket.
    Socket,
    /// The thread waits on a pipe.
    Pipe,
    /// The thread waits for a child process to exit.
    Child,
    /// The thread waits on a file or device.
    File,
    /// The thread waits for the next event.
    EventLoop,
    /// The thread is in uninterruptible sleep: a disk, a file system.
    Uninterruptible,
    /// The thread is in no system call and uses little CPU.
    Runs,
    /// The thread is in another system call.
    Other,
}

impl Doing {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stopped => "is stopped (SIGSTOP or a debugger)",
            Self::OnCpu => "is computing",
            Self::Lock => "waits for a lock or another thread",
            Self::Sleep => "sleeps",
            Self::OutboundCall => "waits for its own outbound call",
            Self::Socket => "waits on a socket",
            Self::Pipe => "waits on a pipe",
            Self::Child => "waits for a child process",
            Self::File => "waits on a file",
            Self::EventLoop => "is back in its event loop",
            Self::Uninterruptible => "is stuck in the kernel (disk or file system)",
            Self::Runs => "is running",
            Self::Other => "is in a system call",
        }
    }
}

/// Latest known state of a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadFact {
    /// Thread ID.
    pub tid: u32,
    /// Thread name.
    pub name: Box<str>,
    /// State letter of `/proc/PID/stat`.
    pub state: char,
    /// Name of the system call that the thread is in.
    pub call: Option<Box<str>>,
    /// Kernel function that the thread waits in.
    pub wait_channel: Option<Box<str>>,
    /// Interpretation of the state.
    pub doing: Doing,
    /// Share of CPU time between the last two looks, from 0 to 1.
    pub cpu: Option<f64>,
    /// Nanoseconds for which the thread is known not to have run.
    pub still_ns: u64,
    /// Inode number of the socket that the thread waits on.
    pub socket: Option<u64>,
    /// Remote address of that socket, if its connection was seen.
    pub peer: Option<Box<str>>,
    /// Child process that the thread waits for, and its name if known.
    pub child: Option<(u32, Box<str>)>,
}

impl ThreadFact {
    pub(in crate::analysis::detector::hang) fn value(&self) -> Value {
        Value::Object(vec![
            ("tid", Value::Count(self.tid.into())),
            ("name", Value::from(&*self.name)),
            ("state", Value::Text(self.state.to_string())),
            ("call", Value::from(self.call.as_deref())),
            ("wait_channel", Value::from(self.wait_channel.as_deref())),
            ("doing", self.doing.name().into()),
            ("cpu", self.cpu.map_or(Value::Null, Value::Decimal)),
            ("still_ms", Value::milliseconds(self.still_ns)),
            ("socket", self.socket.map_or(Value::Null, Value::Count)),
            ("peer", Value::from(self.peer.as_deref())),
            ("child", self.child.as_ref().map_or(Value::Null, |(pid, _)| Value::Count((*pid).into()))),
        ])
    }
}
