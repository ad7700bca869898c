//! Stage and progress of a call on its connection.

use super::{Candidate, Known, Moved, Stage};
use crate::{
    analysis::detector::OpenConnection,
    event::wire::direction,
    model::{connection::Role, exchange::OpenExchange},
};

/// Whether the client still waits for `100 Continue` before it sends the content (RFC 9110 section 10.1.1).
fn expects_continue(exchange: &OpenExchange<'_>) -> bool {
    exchange.request.is_some_and(|request| {
        let expects = request.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        expects && request.body.bytes == 0 && exchange.interim.iter().all(|interim| interim.status != 100)
    })
}

/// Stage of an exchange; `None` if nothing of it is pending.
pub(super) fn of(exchange: &OpenExchange<'_>) -> Option<Stage> {
    let answered = exchange.response.is_some();
    Some(match (exchange.role, exchange.request_done, answered) {
        (_, _, true) if exchange.response_done => return None,
        (Role::Client, false, false) if expects_continue(exchange) => Stage::AwaitContinue,
        (Role::Client, false, false) => Stage::SendRequest,
        (Role::Client, true, false) => Stage::AwaitResponse,
        (Role::Client, _, true) => Stage::ReceiveResponse,
        (Role::Server, false, false) if expects_continue(exchange) => Stage::OweContinue,
        (Role::Server, false, false) => Stage::ReceiveRequest,
        (Role::Server, true, false) => Stage::Serve,
        (Role::Server, _, true) => Stage::SendResponse,
    })
}

/// Completes a candidate whose connection carries several calls. The bytes of the connection may belong to any of them,
/// so they say less than [`moved`] and [`correct`] take from them.
pub(super) fn shared(candidate: &mut Candidate, connection: &OpenConnection<'_>, known: Known<'_>) {
    let kernel = known.kernels.get(connection.info.inode.0);
    let sends = matches!(candidate.stage, Stage::SendRequest | Stage::AwaitContinue | Stage::SendResponse);
    // The send queue may hold the rest of this call's message.
    if let Some(kernel) = kernel.filter(|kernel| sends && kernel.latest.send_queue > 0) {
        candidate.progress = candidate.progress.max(kernel.acknowledged.unwrap_or_default());
    }
    let moved = connection.sent.last.max(connection.received.last).unwrap_or_default();
    candidate.others_move = moved > candidate.progress && known.now.since(moved) < known.watch();
    candidate.peer_closed |= connection.peer_closed;
    // The response may have bypassed the traced calls.
    let answers = match candidate.stage {
        Stage::AwaitResponse => direction::RECEIVE,
        Stage::Serve => direction::SEND,
        _ => return,
    };
    if connection.unseen[usize::from(answers)] > 0 {
        candidate.threshold = u64::MAX;
    }
}

/// Moves the progress of a candidate to the latest byte of its connection.
pub(super) fn moved(candidate: &mut Candidate, connection: &OpenConnection<'_>, known: Known<'_>) {
    let (sends, receives) = match candidate.stage {
        Stage::SendRequest | Stage::AwaitContinue | Stage::SendResponse => (true, false),
        Stage::ReceiveResponse | Stage::ReceiveRequest | Stage::AwaitResponse => (false, true),
        _ => (false, false),
    };
    let mut progress = candidate.progress;
    if sends {
        progress = progress.max(connection.sent.last.unwrap_or_default());
    }
    if receives {
        progress = progress.max(connection.received.last.unwrap_or_default());
    }
    // A blocked system call reports its bytes only when it returns, and returned bytes may still lie in the kernel.
    // Until then, acknowledged bytes and bytes that leave the receive queue show progress.
    if let Some(kernel) = known.kernels.get(connection.info.inode.0) {
        progress = progress.max(kernel.acknowledged.unwrap_or_default()).max(kernel.read.unwrap_or_default());
    }
    candidate.progress = progress;
    candidate.peer_closed |= connection.peer_closed;
}

/// Corrects the stage by bytes that are not part of a whole head yet, or of a system call that has not returned.
pub(super) fn correct(candidate: &mut Candidate, connection: &OpenConnection<'_>) {
    let since = connection.turn.map(|turn| (turn.direction, turn.since));
    let [sends, receives] = [direction::SEND, direction::RECEIVE].map(usize::from);
    match candidate.stage {
        // The answer has begun, but its head is not whole.
        Stage::AwaitResponse
            if since
                .is_some_and(|(direction, since)| direction == direction::RECEIVE && since >= candidate.started)
                || connection.under_way[receives] > 0 =>
        {
            candidate.stage = Stage::ReceiveResponse;
            candidate.moved = if candidate.moved == Moved::Interim { Moved::Interim } else { Moved::HeadBegun };
        }
        // The system call that sends the answer has not returned.
        Stage::Serve if connection.under_way[sends] > 0 => {
            candidate.stage = Stage::SendResponse;
            candidate.moved = Moved::HeadBegun;
        }
        // A response bypassed the traced calls.
        Stage::AwaitResponse if connection.unseen[receives] > 0 => candidate.threshold = u64::MAX,
        Stage::Serve if connection.unseen[sends] > 0 => candidate.threshold = u64::MAX,
        _ => {}
    }
}
