//! What is open, as detectors may look at it.

use rustc_hash::FxHashMap;

use super::link::{Content, Link};
use crate::{
    detector::{Live, OpenConnection},
    exchange::OpenExchange,
};

/// The connections of the engine.
pub(super) struct Links<'a>(pub(super) &'a FxHashMap<u64, Box<Link>>);

impl Links<'_> {
    fn open(&self) -> impl Iterator<Item = &Link> {
        self.0.values().map(|link| &**link).filter(|link| link.over.is_none() && !link.failed)
    }
}

impl Live for Links<'_> {
    fn exchanges(&self, visit: &mut dyn FnMut(&OpenExchange<'_>)) {
        for link in self.open() {
            if let Content::Http1(http) = &link.content {
                http.visit_open(&link.info, visit);
            }
        }
    }

    fn connections(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for link in self.open() {
            visit(&link.view());
        }
    }

    fn closed(&self, visit: &mut dyn FnMut(&OpenConnection<'_>)) {
        for link in self.0.values().filter(|link| link.over.is_some()) {
            visit(&link.view());
        }
    }
}
