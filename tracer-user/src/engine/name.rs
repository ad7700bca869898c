//! Names of Unix sockets, which may arrive before their connection is known.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::connection::Connection;
use crate::{
    event::wire::{SocketNameEvent, flag},
    model::connection::{ConnectionInfo, Endpoint, Role},
    protocol::decode::Decode as _,
};

/// Names that wait for their connection. It comes with the next event or never.
const WAITING: usize = 1024;

/// The name of one end of a connection.
#[derive(Debug)]
pub(super) struct Name {
    /// The name belongs to this end; otherwise to the listening side.
    own: bool,
    endpoint: Endpoint,
}

impl Name {
    /// The name in the event; `None` for none.
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

/// Names that wait for their connections.
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

impl Connection {
    /// Sets the name of one end.
    pub(super) fn set_name(&mut self, name: Name) {
        let text: Box<str> = name.endpoint.to_string().into();
        let info = (*self.info).clone();
        let server = self.channel.decoder.role() == Some(Role::Server);
        self.info = Arc::new(if name.own || server {
            ConnectionInfo { local: name.endpoint, local_text: text, ..info }
        } else {
            ConnectionInfo { remote: name.endpoint, remote_text: text, ..info }
        });
    }
}
