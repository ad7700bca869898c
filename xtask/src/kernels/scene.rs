//! The scenes in a guest. A new scene is an entry of [`scenes`]. A comparison with ground truth is best a live test: it runs in a guest
//! as on this machine, if it needs no program of the distribution.

use super::matrix::Expected;

/// A command in the guest, and its expected end.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// A shell command.
    pub(super) script: String,
    /// The exit status.
    pub(super) status: i32,
    /// A text that the output must contain.
    pub(super) says: &'static str,
}

/// Prefixes of the live tests that run in guests: ground truth of the tracee in either role, a connection that processes share,
/// children, `pidtap run`, a hang with its verdict.
const LIVE: &[&str] = &[
    "mode::client_mixed",
    "mode::server_mixed",
    "scene::dup2_over_a_live_descriptor",
    "scene::fork_after_accept",
    "scene::unix_stream_socket",
    "scene::ipv6",
    "life::run_misses_no_byte_and_gives_the_exit_status",
    "stuck::",
];

/// The live tests of a slow guest, whose kernel verifies the probes for seconds before each.
const LIVE_SLOWLY: &[&str] = &[
    "mode::client_mixed",
    "mode::server_mixed",
    "scene::dup2_over_a_live_descriptor",
    "life::run_misses_no_byte_and_gives_the_exit_status",
    "stuck::",
];

/// Live tests that leave a recording and its lines. The recording is replayed in the guest, and again on this machine.
const RECORDED: &[&str] = &["record::client_mixed", "record::children", "record::forced_loss"];

/// The recorded tests of a slow guest.
const RECORDED_SLOWLY: &[&str] = &["record::children"];

/// The guest's folder of recordings.
pub(super) const KEPT: &str = "/root/kept";

fn scene(name: &'static str, script: impl Into<String>, status: i32, says: &'static str) -> Scene {
    Scene { name, script: script.into(), status, says }
}

/// The scenes for a kernel.
pub(super) fn scenes(expected: Expected) -> Vec<Scene> {
    match expected {
        Expected::Refuses => vec![
            scene("doctor", "pidtap doctor", 5, "the probes require Linux 5.17 or later"),
            scene("attach", "pidtap attach 1", 5, "require Linux 5.17 or later"),
            scene("run", "pidtap run -- true", 5, "require Linux 5.17 or later"),
        ],
        Expected::Works | Expected::WorksSlowly => {
            let slow = expected == Expected::WorksSlowly;
            let (live, recorded) = if slow { (LIVE_SLOWLY, RECORDED_SLOWLY) } else { (LIVE, RECORDED) };
            let test = |names: &[&str]| format!("live --include-ignored --test-threads=1 {}", names.join(" "));
            vec![
                scene("doctor", "pidtap doctor", 0, "loaded, attached and removed"),
                scene("live tests", test(live), 0, "test result: ok"),
                scene("recordings", format!("PIDTAP_RECORDINGS={KEPT} {}", test(recorded)), 0, "test result: ok"),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_live_test() {
        let folder = crate::command::root().join("tests/tests/live");
        for name in [LIVE, RECORDED, LIVE_SLOWLY, RECORDED_SLOWLY].concat() {
            let (module, test) = name.split_once("::").expect("module and test");
            let source =
                std::fs::read_to_string(folder.join(module).with_extension("rs")).expect("the module is there");
            assert!(source.contains(test), "{name}: a filter that finds nothing would pass");
        }
    }
}
