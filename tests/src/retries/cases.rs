//! The clients, and the pattern of the waits of each.

/// A client, and the chains that it makes.
#[derive(Debug)]
pub struct Case {
    /// For the table; `retry_` in front makes it a recording of that name.
    pub name: &'static str,
    pub(super) client: Client,
    /// The path without the chain. Clients that take several paths get one for each chain.
    pub(super) path: &'static str,
    /// Chains that it makes.
    pub chains: u32,
    /// Attempts of each chain.
    pub(super) attempts: u32,
    /// Names of the pattern that are right.
    pub(super) patterns: &'static [&'static str],
}

#[derive(Debug)]
pub(super) enum Client {
    /// urllib3, with this backoff factor.
    Python(&'static str),
    /// `fetch`.
    Node,
    /// A program that takes a URL as its last argument.
    Program(&'static [&'static str]),
    /// `tracee retry`, with this pattern.
    Tracee(&'static str),
}

use Client::{Node, Python, Tracee};

const fn case(
    name: &'static str,
    client: Client,
    path: &'static str,
    (chains, attempts): (u32, u32),
    patterns: &'static [&'static str],
) -> Case {
    Case { name, client, path, chains, attempts, patterns }
}

const EXPONENTIAL: &[&str] = &["exponential"];
const CONSTANT: &[&str] = &["constant"];
const LINEAR: &[&str] = &["linear"];
/// Random gaps may look like either.
const JITTER: &[&str] = &["exponential+jitter", "irregular"];
const CURL: Client = Client::Program(&["curl", "-s", "--retry", "3"]);
const CURL_DELAY: Client = Client::Program(&["curl", "-s", "--retry", "3", "--retry-delay", "1"]);
const WGET: Client =
    Client::Program(&["wget", "-q", "-O", "/dev/null", "--tries=4", "--waitretry=3", "--retry-on-http-error=503"]);

/// Clients with short waits. They run one after the other, as they would delay each other on two processors.
pub(super) const QUICK: &[Case] = &[
    case("retry_urllib3", Python("0.08"), "/503/4/-", (3, 5), EXPONENTIAL),
    case("retry_urllib3_after", Python("0.08"), "/503/2/1", (3, 3), &["retry-after"]),
    case("retry_node", Node, "/503/4/-", (5, 5), EXPONENTIAL),
    case("retry_constant", Tracee("constant"), "/503/4/-", (3, 5), CONSTANT),
    case("retry_linear", Tracee("linear"), "/503/99/-", (3, 5), LINEAR),
    case("retry_exponential", Tracee("exponential"), "/503/99/-", (3, 5), EXPONENTIAL),
    case("retry_capped", Tracee("capped"), "/503/5/-", (3, 6), EXPONENTIAL),
    case("retry_full_jitter", Tracee("full-jitter"), "/503/99/-", (3, 7), JITTER),
    case("retry_decorrelated", Tracee("decorrelated-jitter"), "/503/99/-", (3, 7), JITTER),
    case("retry_none", Tracee("none"), "/503/99/-", (1, 6), &["immediate"]),
    case("constant, 10 at once", Tracee("constant"), "/503/4/-", (10, 5), CONSTANT),
    case("exponential, 10 at once", Tracee("exponential"), "/503/4/-", (10, 5), EXPONENTIAL),
    case("exponential, 50 at once", Tracee("exponential"), "/503/99/-", (50, 5), EXPONENTIAL),
    case("full jitter, 50 at once", Tracee("full-jitter"), "/503/99/-", (50, 7), JITTER),
];

/// Clients that wait for seconds. They run at the same time.
pub(super) const SLOW: &[Case] = &[
    case("retry_curl", CURL, "/503/3/-", (1, 4), EXPONENTIAL),
    case("retry_curl_delay", CURL_DELAY, "/503/3/-", (1, 4), CONSTANT),
    case("retry_wget", WGET, "/503/3/-", (1, 4), LINEAR),
];

impl Case {
    /// Whether it is small enough for a committed recording.
    pub(super) fn is_kept(&self) -> bool {
        self.name.starts_with("retry_")
    }

    /// Whether the gaps are not random, so that the next one can be predicted.
    pub(super) fn is_predictable(&self) -> bool {
        self.patterns != JITTER
    }
}
