//! The events that the user can save.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use crate::{
    app::{marking::Marking, writing::Spool},
    text::escape::Foreign,
};

/// The events that the key `s` saves.
pub(in crate::app) enum Recorded {
    /// The latest events of a live trace, held in memory.
    Spool(Arc<Mutex<Spool>>),
    /// There is a recording already, as this message says.
    Already(String),
}

impl Recorded {
    /// For a live trace, which must fill the spool.
    pub(in crate::app) fn of_trace(record: Option<&Path>, marking: Marking) -> (Self, Option<Arc<Mutex<Spool>>>) {
        if let Some(path) = record {
            let words = format!("everything is already recorded to {} (--record)", Foreign::from(path));
            return (Self::Already(words), None);
        }
        let spool = Arc::new(Mutex::new(Spool::new(marking.header())));
        (Self::Spool(Arc::clone(&spool)), Some(spool))
    }
}
