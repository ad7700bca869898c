//! Detectors: find problems in the stream of observations of connections and exchanges.
//!
//! ```text
//! engine --Observation--> detectors --Findings--> Incident (opened, updated, closed)
//! ```
//!
//! A detector is pure: observations are its only clock, so a recording produces the same incidents as the live trace.
//! Observations are borrowed views. A detector copies what it has to remember, and bounds that state itself, as a
//! hostile peer must not make it grow. Observations arrive for every exchange, so the work for a normal one must take
//! only nanoseconds.
//!
//! To add a detector, add a file with a type that implements [`Detect`], and a line in the list below. The crate does
//! not compile until `detector/tests.rs` has a scenario for it.

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
pub(crate) mod tests;
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
pub use observation::{KernelView, Live, MAX_CALLS, Observation, OpenConnection, Traffic, Turn};
pub use options::{TuneError, Tuned};
pub use pool::{PoolEvidence, PoolThresholds};
pub use retry::{Attempt, Caller, Pattern, RetryEvidence, RetryResult, RetryThresholds};
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

/// Description of a detector for the user.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Problem that the detector looks for.
    pub looks_for: &'static str,
    /// Example of a title.
    pub example: &'static str,
}

/// A detector.
pub trait Detect: fmt::Debug {
    /// Thresholds of the detector.
    type Thresholds: Thresholds;
    /// Evidence of its incidents.
    type Evidence: Explain;
    /// Description for the user.
    const ABOUT: About;

    /// Creates the detector without history.
    fn new(thresholds: Self::Thresholds) -> Self;

    /// Whether the detector requests this step of exchanges. Steps that no detector requests are never built, so a
    /// detector that handles [`Observation::Exchange`] must return true here.
    fn wants(&self, _step: Step, _role: Role) -> bool {
        false
    }

    /// Handles an observation made at `now`.
    fn observe(&mut self, observation: &Observation<'_>, now: Timestamp, findings: &mut Findings);
}

/// Conversion of evidence to text. Evidence contains raw bytes from the wire; the caller escapes them for a terminal.
pub trait Explain: Clone + fmt::Debug {
    /// One line that names the problem and the call.
    fn title(&self, redactor: Redactor) -> String;

    /// Title for outputs with a clock: includes times of day.
    fn timed_title(&self, redactor: Redactor, _clock: &dyn Fn(Timestamp) -> String) -> String {
        self.title(redactor)
    }

    /// Advice for the user.
    fn advice(&self) -> String;

    /// All facts in display order. Names of times in milliseconds end in `_ms`.
    fn facts(&self, redactor: Redactor) -> Facts;
}

macro_rules! detectors {
    ($($(#[doc = $doc:literal])+ $Kind:ident($field:ident: $Detector:ty) = $name:literal;)*) => {
        /// Kind of an incident, which is also the detector that finds it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $Kind,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$Kind,)*];

            /// Name in JSON and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$Kind => $name,)* }
            }

            /// Description of the detector for the user.
            pub fn about(self) -> About {
                match self { $(Self::$Kind => <$Detector as Detect>::ABOUT,)* }
            }
        }

        /// Evidence of an incident.
        #[derive(Clone, Debug)]
        pub enum Evidence {
            $($(#[doc = $doc])+ $Kind(Box<<$Detector as Detect>::Evidence>),)*
        }

        impl Evidence {
            /// Kind of the incident.
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

        /// Switches and thresholds of all detectors.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct DetectorOptions {
            $($(#[doc = $doc])+ pub $field: Tuned<<$Detector as Detect>::Thresholds>,)*
        }

        impl DetectorOptions {
            /// Whether the detector is on.
            pub fn is_on(&self, kind: Kind) -> bool {
                match kind { $(Kind::$Kind => self.$field.on,)* }
            }

            /// Thresholds of the detector.
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

        /// The active detectors.
        #[derive(Debug)]
        pub struct Detectors {
            $($field: Option<$Detector>,)*
            findings: Findings,
        }

        impl Detectors {
            /// Creates the detectors that the options switch on.
            pub fn new(options: &DetectorOptions) -> Self {
                Self {
                    $($field: options.$field.on.then(|| Detect::new(options.$field.thresholds.clone())),)*
                    findings: Findings::default(),
                }
            }

            /// Whether any detector requests this step of an exchange.
            pub fn want(&self, step: Step, role: Role) -> bool {
                $(self.$field.as_ref().is_some_and(|detector| detector.wants(step, role)))||*
            }

            /// Passes an observation made at `now` to all detectors.
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
    /// A failed call is repeated.
    Retry(retry: retry::Retry) = "retry";
    /// An open call makes no progress.
    Hang(hang: hang::Hang) = "hang";
    /// Many calls fail within a short time.
    ErrorBurst(error_burst: errors::ErrorBurst) = "error-burst";
    /// An endpoint is slow compared to its own history.
    Slow(slow: slow::Slow) = "slow";
    /// The same request is sent twice at once.
    Duplicate(duplicate: duplicate::Duplicate) = "duplicate";
    /// A reused connection failed after an idle period.
    Stale(stale: stale::Stale) = "stale-connection";
    /// The number of connections only grows.
    Leak(leak: leak::Leak) = "connection-leak";
    /// Callers wait for a connection of a pool.
    Pool(pool: pool::Pool) = "pool-exhaustion";
    /// Callers close their connections before the response.
    Late(late: late::Late) = "late-answers";
    /// Connections wait in a listen queue.
    Listen(listen: listen::Listen) = "listen-queue";
}

impl Default for Detectors {
    fn default() -> Self {
        Self::new(&DetectorOptions::default())
    }
}

impl Detectors {
    /// Returns the next incident that was opened, updated or closed.
    pub fn poll(&mut self) -> Option<Incident> {
        self.findings.poll()
    }

    /// Whether no incident is pending.
    pub fn is_silent(&self) -> bool {
        self.findings.is_empty()
    }

    /// Takes the incidents that the exchange of the last observation belongs to.
    pub fn take_memberships(&mut self) -> Vec<IncidentId> {
        self.findings.take_memberships()
    }

    /// Takes the pending queries to the kernel.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        self.findings.take_asks()
    }

    /// Number of incidents opened so far.
    pub fn opened(&self) -> u64 {
        self.findings.opened()
    }
}
