//! One pass over an image's bytes: read (and decompressed) on the caller's thread, hashed on a
//! second, taken apart on a third.
//!
//! Pieces are shared, not copied; the channels are short, so that memory stays below a few
//! megabytes whatever the image's size.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha::Running;

use crate::{Error, Result};

/// Small enough to stay in the processor's cache from one thread to the next.
const PIECE: usize = 256 << 10;
/// Pieces that wait for each thread.
const WAITING: usize = 4;

type Piece = Arc<Vec<u8>>;

/// What a pass found.
pub(crate) struct Passed<H, T> {
    /// All that was read, hashed.
    pub(crate) hash: H,
    pub(crate) size: u64,
    pub(crate) value: T,
}

/// The bytes of a pass as its consumer reads them.
pub(crate) struct Pieces {
    receiver: Receiver<Piece>,
    piece: Piece,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let take = self.fill_buf()?.read(out)?;
        self.consume(take);
        Ok(take)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len()
            && let Ok(piece) = self.receiver.recv()
        {
            self.piece = piece;
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// Runs `consume` over all bytes of `source`, while they are hashed and, if a file is given, written
/// to it. `check` is asked after every piece whether so many bytes are still welcome.
///
/// The consumer's error comes before a later one of the source: a hostile archive is refused for
/// what it holds, without reading its rest.
pub(crate) fn pass<H: Running, T: Send>(
    source: &mut dyn Read,
    copy: Option<(&File, &Path)>,
    check: &mut dyn FnMut(u64) -> Result<()>,
    fault: &dyn Fn(io::Error) -> Error,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<Passed<H, T>> {
    let refused = AtomicBool::new(false);
    thread::scope(|scope| {
        let (to_hash, for_hash) = sync_channel::<Piece>(WAITING);
        let (to_consumer, receiver) = sync_channel::<Piece>(WAITING);
        let hashing = scope.spawn(move || {
            let mut hash = H::new();
            for piece in for_hash {
                hash.update(&piece);
            }
            hash
        });
        let refused_there = &refused;
        let consuming = scope.spawn(move || {
            let pieces = Pieces {
                receiver,
                piece: Arc::new(Vec::new()),
                at: 0,
            };
            let outcome = consume(pieces);
            if outcome.is_err() {
                refused_there.store(true, Ordering::Relaxed);
            }
            outcome
        });
        let read = Feed {
            outputs: [to_hash, to_consumer],
            pool: Vec::new(),
            refused: &refused,
        }
        .run(source, copy, check, fault);
        // The feed has closed the channels, so that both threads come to their end.
        let consumed = join(consuming.join());
        let hash = join(hashing.join());
        match (read, consumed) {
            // A consumer that only saw the bytes end says "truncated": the reason is the source.
            (Err(read), Err(Error::Truncated { .. })) => Err(read),
            (_, Err(consumed)) => Err(consumed),
            (Err(read), Ok(_)) => Err(read),
            (Ok(size), Ok(value)) => Ok(Passed { hash, size, value }),
        }
    })
}

fn join<T>(outcome: thread::Result<T>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct Feed<'a> {
    outputs: [SyncSender<Piece>; 2],
    pool: Vec<Piece>,
    refused: &'a AtomicBool,
}

impl Feed<'_> {
    fn run(
        mut self,
        source: &mut dyn Read,
        copy: Option<(&File, &Path)>,
        check: &mut dyn FnMut(u64) -> Result<()>,
        fault: &dyn Fn(io::Error) -> Error,
    ) -> Result<u64> {
        let mut total = 0;
        while !self.refused.load(Ordering::Relaxed) {
            let mut piece = self.free_piece();
            // Nobody else has it, or it would not be free.
            let Some(buffer) = Arc::get_mut(&mut piece) else {
                continue;
            };
            fill(source, buffer).map_err(fault)?;
            if buffer.is_empty() {
                break;
            }
            total += buffer.len() as u64;
            check(total)?;
            if let Some((mut file, path)) = copy {
                file.write_all(buffer).map_err(Error::io("write", path))?;
            }
            for output in &self.outputs {
                // A consumer that has seen the end of the archive takes no more.
                let _ = output.send(piece.clone());
            }
            self.pool.push(piece);
        }
        Ok(total)
    }

    /// A buffer that every thread is done with, or a new one.
    fn free_piece(&mut self) -> Piece {
        match self.pool.iter_mut().position(|p| Arc::get_mut(p).is_some()) {
            Some(free) => self.pool.swap_remove(free),
            None => Arc::new(Vec::with_capacity(PIECE)),
        }
    }
}

/// Reads until the buffer is full or the source ends. The buffer's old bytes are written over: to
/// clear them each time took a third as long as the reading itself.
fn fill(source: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(PIECE, 0);
    let mut filled = 0;
    while filled < PIECE {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(())
}
