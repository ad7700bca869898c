//! Exit statuses. Scripts rely on them.

use std::process::ExitCode;

use crate::host::{
    capture::CaptureError,
    identity::IdentityError,
    launch::LaunchError,
    privilege::PrivilegeError,
    process::{ExitClass, ProcessError},
};

/// Result of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// Another failure than the following: a file that cannot be opened or read, a full disk.
    Failed,
    /// The command line is invalid.
    Usage,
    /// There is no such process.
    NoProcess,
    /// The user lacks permission.
    NotPermitted,
    /// The kernel or the environment lacks something, or a limit is too low.
    NotSupported,
    /// Exit status of the command of `pidtap run`.
    Command(u8),
}

impl Exit {
    /// Exit status of the process.
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

    /// Result for an error, by its most specific cause.
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
