//! Exit statuses: what scripts rely on.

use std::process::ExitCode;

use crate::host::{
    capture::CaptureError,
    identity::IdentityError,
    launch::LaunchError,
    privilege::PrivilegeError,
    process::{ExitClass, ProcessError},
};

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done,
    /// Another failure than those below: a file that cannot be opened or read, a disk that is full.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// There is no such process.
    NoProcess,
    /// Not permitted.
    NotPermitted,
    /// The kernel, or where pidtap runs, lacks something; a limit is too low.
    NotSupported,
    /// What the command of `pidtap run` ended with.
    Command(u8),
}

impl Exit {
    /// The status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoProcess => 3,
            Self::NotPermitted => 4,
            Self::NotSupported => 5,
            Self::Command(status) => status,
        }
    }

    /// What an error means.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(error) = cause.downcast_ref::<ProcessError>() {
                return error.exit_class().into();
            }
            if let Some(error) = cause.downcast_ref::<PrivilegeError>() {
                return error.exit_class().into();
            }
            if let Some(error) = cause.downcast_ref::<IdentityError>() {
                return error.exit_class().into();
            }
            if let Some(error) = cause.downcast_ref::<LaunchError>() {
                return Self::Command(error.exit_status());
            }
            if let Some(error) = cause.downcast_ref::<CaptureError>() {
                return of_capture(error);
            }
        }
        Self::Failed
    }
}

fn of_capture(error: &CaptureError) -> Exit {
    match error {
        CaptureError::NoTarget | CaptureError::RingSize(_) => Exit::Usage,
        CaptureError::Permission { .. } => Exit::NotPermitted,
        CaptureError::Shortage { .. }
        | CaptureError::NoBtf { .. }
        | CaptureError::Btf { .. }
        | CaptureError::NoRingBuffer { .. }
        | CaptureError::Verifier { .. }
        | CaptureError::NoTracepoint { .. } => Exit::NotSupported,
        _ => Exit::Failed,
    }
}

impl From<ExitClass> for Exit {
    fn from(class: ExitClass) -> Self {
        match class {
            ExitClass::Usage => Self::Usage,
            ExitClass::NoProcess => Self::NoProcess,
            ExitClass::NotPermitted => Self::NotPermitted,
            ExitClass::NotSupported => Self::NotSupported,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.status().into()
    }
}
