//! State that all connections share while an event is handled.

use std::{collections::VecDeque, sync::Arc};

use super::{Control, EngineOptions, Note, process_table::ProcessTable, reports::Reports, waiting::Waiting};
use crate::{model::connection::ConnectionInfo, protocol::context::Context};

/// State that all connections share while an event is handled.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) options: EngineOptions,
    pub(super) processes: ProcessTable,
    /// Number of the latest exchange.
    pub(super) last_exchange: u64,
    /// See [`Context::open_bytes`].
    pub(super) open_bytes: usize,
    /// See [`Context::open_heads`].
    pub(super) open_heads: usize,
    pub(super) waiting: Waiting,
    pub(super) reports: Reports,
    pub(super) controls: VecDeque<Control>,
    /// Notes on connections that ended with bytes missing. The next tick reports them, unless counters of loss explain
    /// the missing bytes.
    pub(super) unseen: Vec<Note>,
}

impl Environment {
    /// Runs a step of a decoder on `connection`, whose directions stand at the positions `next`.
    pub(super) fn with_context(
        &mut self,
        connection: &mut Arc<ConnectionInfo>,
        next: [Option<u64>; 2],
        step: impl FnOnce(&mut Context<'_>),
    ) {
        let Self { options, processes, last_exchange, open_bytes, open_heads, reports, .. } = self;
        step(&mut Context {
            last_exchange,
            body_limit: options.body_limit,
            open_bytes,
            open_heads,
            process_name: &|pid| processes.name(pid),
            connection,
            next,
            listener: reports,
        });
    }
}
