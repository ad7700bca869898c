//! The one place that decides whether an exchange failed, and how.

use std::borrow::Cow;

use super::{Exchange, Outcome, Response};

/// How an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The status of the response says that the server failed, or refused the request.
    Status(u16),
    /// The exchange ended without a whole response.
    Outcome(Outcome),
}

impl Failure {
    /// The name in JSON: the status, or the name of the outcome.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) => status.to_string().into(),
            Self::Outcome(outcome) => outcome.name().into(),
        }
    }

    /// A few words for a person.
    pub fn words(self) -> Cow<'static, str> {
        let words = match self {
            Self::Status(status) => return status.to_string().into(),
            Self::Outcome(Outcome::Refused) => "connection refused",
            Self::Outcome(Outcome::NoLocalPort) => "no free local port",
            Self::Outcome(Outcome::NetworkUnreachable) => "network unreachable",
            Self::Outcome(Outcome::HostUnreachable) => "host unreachable",
            Self::Outcome(Outcome::TooManyFiles) => "too many open files",
            Self::Outcome(Outcome::Reset) => "connection reset",
            Self::Outcome(Outcome::Closed) => "closed without a response",
            Self::Outcome(Outcome::ClientTimeout) => "client timeout",
            Self::Outcome(outcome) if outcome.no_connection().is_some() => "no connection",
            Self::Outcome(outcome) => outcome.name(),
        };
        words.into()
    }
}

/// What the status of a final response says about its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The request succeeded (2xx).
    Success,
    /// The connection switches protocols, or the client is sent elsewhere (1xx and 3xx).
    Other,
    /// The server wants credentials (401 and 407): the next request, with credentials, is no retry.
    Challenge,
    /// The same request may succeed later (408, 425 and 429).
    NotNow,
    /// The request is wrong (all other 4xx).
    Rejected,
    /// The server failed (5xx). A client treats statuses above 599, which are invalid, in the same way (RFC 9110
    /// section 15).
    Failed,
}

impl Answer {
    /// Classifies a status code.
    pub fn of(status: u16) -> Self {
        match status {
            200..300 => Self::Success,
            401 | 407 => Self::Challenge,
            408 | 425 | 429 => Self::NotNow,
            400..500 => Self::Rejected,
            500.. => Self::Failed,
            _ => Self::Other,
        }
    }

    /// Whether the status is 4xx.
    pub fn is_client_error(self) -> bool {
        matches!(self, Self::Challenge | Self::NotNow | Self::Rejected)
    }
}

impl Response {
    /// What the response says about the request.
    pub fn answer(&self) -> Answer {
        Answer::of(self.status)
    }
}

impl Exchange {
    /// How the exchange failed: it has no whole response, or one that says that the server failed. 4xx is no failure: it
    /// is how a server answers a wrong request, and the retries that follow a 429 show what it means. A pending exchange
    /// has not failed.
    pub fn failure(&self) -> Option<Failure> {
        match self.outcome {
            Outcome::InFlight | Outcome::Unsolicited => None,
            Outcome::Complete | Outcome::Upgraded | Outcome::ClosedEarly => {
                let response = self.response.as_ref()?;
                (response.answer() == Answer::Failed).then_some(Failure::Status(response.status))
            }
            outcome => Some(Failure::Outcome(outcome)),
        }
    }

    /// Whether the exchange failed.
    pub fn is_failed(&self) -> bool {
        self.failure().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn failure(outcome: Outcome, status: Option<u16>) -> Option<Failure> {
        let mut exchange = Exchange { outcome, ..fixture::exchange() };
        match (status, &mut exchange.response) {
            (Some(status), Some(response)) => response.status = status,
            (None, response) => *response = None,
            (Some(_), None) => unreachable!("the fixture has a response"),
        }
        exchange.failure()
    }

    #[test]
    fn a_whole_response_fails_by_its_status() {
        for outcome in [Outcome::Complete, Outcome::Upgraded, Outcome::ClosedEarly] {
            for status in [101, 200, 204, 304, 400, 401, 404, 429, 499] {
                assert_eq!(failure(outcome, Some(status)), None, "{outcome:?} {status}");
            }
            for status in [500, 503, 599, 600, 999] {
                assert_eq!(failure(outcome, Some(status)), Some(Failure::Status(status)), "{outcome:?} {status}");
            }
            assert_eq!(failure(outcome, None), None, "{outcome:?}");
        }
    }

    #[test]
    fn without_a_whole_response_the_outcome_says_how() {
        for outcome in [Outcome::Reset, Outcome::Closed, Outcome::Refused, Outcome::ClientTimeout, Outcome::NotHttp] {
            for status in [None, Some(200), Some(503)] {
                assert_eq!(failure(outcome, status), Some(Failure::Outcome(outcome)));
            }
        }
        for outcome in [Outcome::InFlight, Outcome::Unsolicited] {
            assert_eq!(failure(outcome, Some(503)), None);
        }
    }

    #[test]
    fn names_are_those_of_json() {
        assert_eq!(Failure::Status(503).name(), "503");
        assert_eq!(Failure::Outcome(Outcome::ConnectTimeout).name(), "connect_timeout");
        assert_eq!(Failure::Outcome(Outcome::ConnectTimeout).words(), "no connection");
        assert_eq!(Failure::Outcome(Outcome::Reset).words(), "connection reset");
    }
}
