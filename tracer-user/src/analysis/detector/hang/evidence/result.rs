//! End of a call that hung.

use strum::IntoStaticStr;

use crate::model::exchange::Outcome;

/// Result of a call that hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HangResult {
    /// The call still hangs.
    Ongoing,
    /// The call was answered, or continued.
    Answered,
    /// The call was answered with a status that reports a server failure.
    Failed,
    /// The target answered, but its client had already closed.
    ClientGone,
    /// Bytes move again.
    Resumed,
    /// The connection is established.
    Connected,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the end.
    Closed,
    /// The connection was refused.
    Refused,
    /// The kernel gave up connecting; the outcome names the cause.
    #[strum(transparent)]
    NoConnection(Outcome),
    /// The target gave up.
    ClientTimeout,
    /// The call ended in an unknown way.
    Over,
}

impl HangResult {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the call ended without a failure.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered | Self::Resumed | Self::Connected)
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ongoing => "hangs",
            Self::Answered => "was answered",
            Self::Failed => "failed",
            Self::ClientGone => "was answered too late (its client had disconnected)",
            Self::Resumed => "resumed",
            Self::Connected => "connected",
            Self::Reset => "was reset",
            Self::Closed => "was closed before it completed",
            Self::Refused => "was refused",
            Self::NoConnection(_) => "was aborted by the kernel",
            Self::ClientTimeout => "was abandoned by this process (client timeout)",
            Self::Over => "ended",
        }
    }
}
