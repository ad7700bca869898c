//! Results are written by a thread of their own: a reader that takes its time, or a file system that does, keeps nobody
//! from taking events out of the ring. And where target and pidtap share processors, the two halves of what pidtap does
//! run beside each other instead of one after the other, for half as long.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread,
};

use anyhow::Context as _;

/// Pieces that wait to be written, at most; an output hands on 64 KiB or more at a time when there is much. Beyond it,
/// who writes waits.
const PIECES: usize = 64;
/// A piece's memory is used again unless it is larger.
const KEEP: usize = 1 << 20;

enum Message {
    Piece(Vec<u8>),
    /// All pieces before it are written: say so.
    Reached(SyncSender<()>),
}

/// What the thread failed with, until somebody is told.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// Hands what is written to the thread. An error of the thread is given to the next write or flush.
pub(super) struct Behind {
    messages: SyncSender<Message>,
    used: Receiver<Vec<u8>>,
    failure: Failure,
}

/// Tells when all is written.
pub(super) struct Written {
    messages: SyncSender<Message>,
    failure: Failure,
}

/// Starts the thread that writes to `writer`.
///
/// # Errors
///
/// Where the system refuses the thread.
pub(super) fn behind(mut writer: impl Write + Send + 'static) -> anyhow::Result<(Behind, Written)> {
    let (messages, received) = sync_channel(PIECES);
    let (give_back, used) = channel();
    let failure = Failure::default();
    let told = Arc::clone(&failure);
    thread::Builder::new()
        .name("pidtap-output".to_owned())
        .spawn(move || {
            let mut failed = false;
            for message in received {
                match message {
                    // After an error nobody knows how much was taken; what comes is for nobody.
                    Message::Piece(_) if failed => {}
                    Message::Piece(mut piece) => {
                        if let Err(error) = writer.write_all(&piece).and_then(|()| writer.flush()) {
                            failed = true;
                            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                        if piece.capacity() <= KEEP {
                            piece.clear();
                            // The other side may be gone.
                            let _ = give_back.send(piece);
                        }
                    }
                    Message::Reached(reply) => {
                        let _ = reply.send(());
                    }
                }
            }
        })
        .context("cannot start the thread that writes results; is a limit on processes reached?")?;
    Ok((Behind { messages: messages.clone(), used, failure: Arc::clone(&failure) }, Written { messages, failure }))
}

fn check(failure: &Failure) -> io::Result<()> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

/// The thread ends only after the last sender, so this is a panic of it, which was printed.
fn gone<T>(_: T) -> io::Error {
    io::Error::other("the thread that writes results is gone")
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check(&self.failure)?;
        if !bytes.is_empty() {
            let mut piece = self.used.try_recv().unwrap_or_default();
            piece.extend_from_slice(bytes);
            self.messages.send(Message::Piece(piece)).map_err(gone)?;
        }
        Ok(bytes.len())
    }

    /// Does not wait: the thread writes as soon as it can.
    fn flush(&mut self) -> io::Result<()> {
        check(&self.failure)
    }
}

impl Written {
    /// Waits until all that was handed over before is written.
    ///
    /// # Errors
    ///
    /// The one that kept the thread from writing, unless it was given already.
    pub(super) fn wait(&self) -> io::Result<()> {
        let (reply, reached) = sync_channel(1);
        self.messages.send(Message::Reached(reply)).map_err(gone)?;
        reached.recv().map_err(gone)?;
        check(&self.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
    struct Full {
        room: usize,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.taken.lock().expect("no panic").extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut behind, written) =
            behind(Full { room: usize::MAX, taken: Arc::clone(&taken) }).expect("a thread starts");
        let mut expected = Vec::new();
        for number in 0..10_000 {
            writeln!(behind, "line {number}").expect("room");
            expected.extend_from_slice(format!("line {number}\n").as_bytes());
        }
        behind.flush().expect("room");
        written.wait().expect("room");
        assert_eq!(*taken.lock().expect("no panic"), expected);
    }

    #[test]
    fn a_failure_is_told_once_and_what_was_written_before_is_kept() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut behind, written) = behind(Full { room: 7, taken: Arc::clone(&taken) }).expect("a thread starts");
        behind.write_all(b"one\ntwo\n").expect("taken over");
        assert_eq!(written.wait().expect_err("no room").kind(), io::ErrorKind::StorageFull);
        behind.write_all(b"three\n").expect("said already");
        written.wait().expect("said already");
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntwo");
    }
}
