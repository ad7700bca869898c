//! A process that does nothing.

use super::stage::{MS, S, Stage};

/// pidtap attaches, and no event comes.
pub(super) fn recording() -> Vec<u8> {
    Stage::new(100 * MS, &[(2741, b"idle-service")]).breaks_off(8 * S)
}
