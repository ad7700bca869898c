//! Names of Unix sockets, which may be told before the connection is known.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::link::{Content, Link};
use crate::{
    event::wire::{SocketNameEvent, flag},
    model::connection::{ConnectionInfo, Endpoint, Role},
};

/// Names that wait for their connection, which comes with the next event or not at all.
const WAITING: usize = 1024;

/// The name of one end of a connection.
#[derive(Debug)]
pub(super) struct Name {
    /// Of this end; otherwise of the listening side, whichever end is asked.
    own: bool,
    endpoint: Endpoint,
}

impl Name {
    /// What the event says; `None` for no name.
    pub(super) fn of(event: &SocketNameEvent, path: &[u8]) -> Option<Self> {
        let path = if let (0, name) = path.split_first()? {
            // All bytes of an abstract name count (unix(7)); they end with the length.
            format!("@{}", String::from_utf8_lossy(name))
        } else {
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            String::from_utf8_lossy(&path[..end]).into_owned()
        };
        Some(Self { own: event.header.flags & flag::OWN_NAME != 0, endpoint: Endpoint::Unix(path) })
    }
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Names(FxHashMap<u64, Name>);

impl Names {
    pub(super) fn keep(&mut self, inode: u64, name: Name) {
        if self.0.len() >= WAITING {
            self.0.clear();
        }
        self.0.insert(inode, name);
    }

    pub(super) fn take(&mut self, inode: u64) -> Option<Name> {
        self.0.remove(&inode)
    }
}

impl Link {
    /// Takes the name of one of its ends.
    pub(super) fn set_name(&mut self, name: Name) {
        let text: Box<str> = name.endpoint.to_string().into();
        let info = (*self.info).clone();
        let server = matches!(&self.content, Content::Http1(http) if http.role() == Role::Server);
        self.info = Arc::new(if name.own || server {
            ConnectionInfo { local: name.endpoint, local_text: text, ..info }
        } else {
            ConnectionInfo { remote: name.endpoint, remote_text: text, ..info }
        });
    }
}
