//! Detectors: what goes wrong, found in the life of connections and exchanges as it passes by.
//!
//! ```text
//! engine --Observation--> detectors --Findings--> Incident (opened, updated, closed)
//! ```
//!
//! A detector is pure: it knows the time from the observations alone, so that a recording gives the incidents that the
//! live trace gave. It sees borrowed views; what it wants to remember, it copies, within bounds that are its own: the
//! bytes come from the wire, and a hostile peer must not make a trace grow. Observations come for every exchange: what
//! is done for one that is in order counts in nanoseconds.
//!
//! A new detector is a file here with a type that is [`Detect`], and a line in the list below. It does not compile
//! without a scenario that shows it (`detector/tests.rs`).

mod common_timeout;
mod duplicate;
pub mod endpoint;
mod errors;
mod hang;
mod incident;
mod late;
mod leak;
mod listen;
mod observation;
mod options;
mod pool;
mod retry;
mod slow;
mod stale;
#[cfg(test)]
mod tests;
mod threshold;

use std::fmt;

pub use duplicate::{DuplicateEvidence, DuplicateThresholds};
pub use endpoint::Endpoint;
pub use errors::{Course, ErrorBurstEvidence, ErrorBurstThresholds, Scope, Trend};
pub use hang::{
    Call, Doing, HangEvidence, HangResult, HangThresholds, Outbound, Phase, Reason, Sockets, ThreadFact, WaitingOn,
};
pub use incident::{Ask, Confidence, Facts, Findings, Incident, Opened, Report, State, Value};
pub use late::{LateCourse, LateEvidence, LateThresholds};
pub use leak::{LeakEvidence, LeakThresholds};
pub use listen::{ListenEvidence, ListenThresholds};
pub use observation::{KernelView, Live, Observation, OpenConnection, Traffic, Turn};
pub use options::{TuneError, Tuned};
pub use pool::{PoolEvidence, PoolThresholds};
pub use retry::{Attempt, Caller, Failure, Pattern, RetryEvidence, RetryResult, RetryThresholds};
pub use slow::{SlowEvidence, SlowThresholds};
pub use stale::{StaleEvidence, StaleThresholds};
pub use threshold::{Setting, Threshold, Thresholds};

use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{IncidentId, Step},
    },
    text::redact::Redactor,
};

/// What a person is told of a detector.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it looks for.
    pub looks_for: &'static str,
    /// What it says when it finds it.
    pub example: &'static str,
}

/// A detector.
pub trait Detect: fmt::Debug {
    /// What it goes by.
    type Thresholds: Thresholds;
    /// What its findings rest on.
    type Evidence: Explain;
    /// What a person is told of it.
    const ABOUT: About;

    /// A new one.
    fn new(thresholds: Self::Thresholds) -> Self;

    /// Whether it wants to be shown this step of exchanges. Nothing is made of what nobody wants, so one that looks at
    /// [`Observation::Exchange`] must say so here.
    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    /// Something was seen at `now`.
    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings);
}

/// Evidence, put into words. Bytes from the wire are in it as they are: whoever shows it to a terminal makes it
/// harmless.
pub trait Explain: Clone + fmt::Debug {
    /// One line: what happens, to which call.
    fn title(&self, redactor: Redactor) -> String;

    /// The same where the output has a clock: times of day are put in.
    fn timed_title(&self, redactor: Redactor, _clock: &dyn Fn(Timestamp) -> String) -> String {
        self.title(redactor)
    }

    /// What a person may do about it.
    fn advice(&self) -> String;

    /// All of it, in the order in which it is shown; times in milliseconds end in `_ms`.
    fn facts(&self, redactor: Redactor) -> Facts;
}

macro_rules! detectors {
    ($($(#[doc = $doc:literal])+ $Kind:ident($field:ident: $Detector:ty) = $name:literal;)*) => {
        /// What kind of incident it is, and which detector finds it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $Kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Kind,)*];

            /// The name, in JSON and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$Kind => $name,)* }
            }

            /// What a person is told of the detector.
            pub fn about(self) -> About {
                match self { $(Self::$Kind => <$Detector as Detect>::ABOUT,)* }
            }
        }

        /// What an incident rests on.
        #[derive(Clone, Debug)]
        pub enum Evidence {
            $($(#[doc = $doc])+ $Kind(Box<<$Detector as Detect>::Evidence>),)*
        }

        impl Evidence {
            /// Which detector's it is.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$Kind(_) => Kind::$Kind,)* }
            }

            /// See [`Explain::title`].
            pub fn title(&self, redactor: Redactor) -> String {
                match self { $(Self::$Kind(evidence) => evidence.title(redactor),)* }
            }

            /// See [`Explain::timed_title`].
            pub fn timed_title(&self, redactor: Redactor, clock: &dyn Fn(Timestamp) -> String) -> String {
                match self { $(Self::$Kind(evidence) => evidence.timed_title(redactor, clock),)* }
            }

            /// See [`Explain::advice`].
            pub fn advice(&self) -> String {
                match self { $(Self::$Kind(evidence) => evidence.advice(),)* }
            }

            /// See [`Explain::facts`].
            pub fn facts(&self, redactor: Redactor) -> Facts {
                match self { $(Self::$Kind(evidence) => evidence.facts(redactor),)* }
            }
        }

        $(
            impl From<<$Detector as Detect>::Evidence> for Evidence {
                fn from(evidence: <$Detector as Detect>::Evidence) -> Self {
                    Self::$Kind(Box::new(evidence))
                }
            }
        )*

        /// Which detectors look, and by what they go.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct DetectorOptions {
            $($(#[doc = $doc])+ pub $field: Tuned<<$Detector as Detect>::Thresholds>,)*
        }

        impl DetectorOptions {
            /// Whether the detector looks.
            pub fn is_on(&self, kind: Kind) -> bool {
                match kind { $(Kind::$Kind => self.$field.on,)* }
            }

            /// What the detector goes by.
            pub fn thresholds(&self, kind: Kind) -> &dyn Thresholds {
                match kind { $(Kind::$Kind => &self.$field.thresholds,)* }
            }

            fn switch(&mut self, kind: Kind, on: bool) {
                match kind { $(Kind::$Kind => self.$field.on = on,)* }
            }

            fn thresholds_mut(&mut self, kind: Kind) -> &mut dyn Thresholds {
                match kind { $(Kind::$Kind => &mut self.$field.thresholds,)* }
            }
        }

        /// The detectors that look.
        #[derive(Debug)]
        pub struct Detectors {
            $($field: Option<$Detector>,)*
            findings: Findings,
        }

        impl Detectors {
            /// Those that the options switch on.
            pub fn new(options: &DetectorOptions) -> Self {
                Self {
                    $($field: options.$field.on.then(|| Detect::new(options.$field.thresholds.clone())),)*
                    findings: Findings::default(),
                }
            }

            /// Whether any of them wants this step of an exchange.
            pub fn want(&self, step: Step, role: Role) -> bool {
                $(self.$field.as_ref().is_some_and(|detector| detector.wants(step, role)))||*
            }

            /// Something was seen at `now`.
            pub fn observe(&mut self, observation: &Observation<'_>, now: Timestamp) {
                $(
                    if let Some(detector) = &mut self.$field {
                        detector.observe(observation, now, &mut self.findings);
                    }
                )*
            }
        }
    };
}

detectors! {
    /// A call that failed is made again.
    Retry(retry: retry::Retry) = "retry";
    /// A call is open and does not move.
    Hang(hang: hang::Hang) = "hang";
    /// Many calls fail of late.
    ErrorBurst(error_burst: errors::ErrorBurst) = "error-burst";
    /// An endpoint is slow against its own past.
    Slow(slow: slow::Slow) = "slow";
    /// The same request twice at once.
    Duplicate(duplicate: duplicate::Duplicate) = "duplicate";
    /// A kept connection failed after it had idled.
    Stale(stale: stale::Stale) = "stale-connection";
    /// Connections only grow.
    Leak(leak: leak::Leak) = "connection-leak";
    /// Callers wait for a connection of a pool.
    Pool(pool: pool::Pool) = "pool-exhaustion";
    /// Callers go before their answer comes.
    Late(late: late::Late) = "late-answers";
    /// Connections wait to be accepted.
    Listen(listen: listen::Listen) = "listen-queue";
}

impl Default for Detectors {
    fn default() -> Self {
        Self::new(&DetectorOptions::default())
    }
}

impl Detectors {
    /// The next incident that was opened, updated or closed.
    pub fn poll(&mut self) -> Option<Incident> {
        self.findings.poll()
    }

    /// There is nothing to poll.
    pub fn is_silent(&self) -> bool {
        self.findings.is_empty()
    }

    /// Incidents that the exchange of the last observation belongs to.
    pub fn take_memberships(&mut self) -> Vec<IncidentId> {
        self.findings.take_memberships()
    }

    /// What is to be asked of the kernel.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        self.findings.take_asks()
    }

    /// Incidents opened until now.
    pub fn opened(&self) -> u64 {
        self.findings.opened()
    }
}
