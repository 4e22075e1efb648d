//! A thread that publishes a file's batches, while the next ones are gathered. It allocates and frees
//! nothing but while it starts and ends: memory goes back and forth with the batches.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use sandbox::filemap::FileMap;

use super::batch::Batch;
use super::header::End;

/// It has little to remember.
const STACK: usize = 64 * 1024;
/// So many batches may wait for it: they are of different sizes, and neither side shall wait for the
/// other because of that.
const WAITING: usize = 2;

/// The thread of one file.
#[derive(Debug)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// Where batches are handed over.
#[derive(Debug)]
struct Desk {
    file: Arc<File>,
    lies: Mutex<Lies>,
    changed: Condvar,
}

/// What lies there.
#[derive(Debug)]
struct Lies {
    /// To be published, in this order.
    batches: VecDeque<Batch>,
    /// Empty ones.
    empty: Vec<Batch>,
    /// The map of the file; none while the thread has it, or nobody needs the thread.
    map: Option<FileMap>,
    /// The thread has something to do.
    busy: bool,
    /// How the file ends, once all is published.
    end: Option<End>,
    /// There will be nothing more.
    over: bool,
    outcome: Outcome,
}

/// What was done, and what could not be.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    /// Entries that could not be published.
    pub(super) lost: u64,
    /// Why the file takes no more.
    pub(super) fault: Option<Errno>,
    /// Bytes that the file has now.
    pub(super) size: u64,
}

impl Outcome {
    /// What else could not be done.
    pub(super) fn add(&mut self, more: Self) {
        self.lost += more.lost;
        self.fault = self.fault.or(more.fault);
    }

    /// Publishes a batch, unless one before it could not be, and empties it.
    pub(super) fn publish(
        &mut self,
        batch: &mut Batch,
        file: &File,
        map: &mut FileMap,
        piece: &mut Vec<u8>,
    ) {
        let entries = batch.count() as u64;
        self.size = self.size.max(batch.size);
        if let Some(more) = batch.needed.checked_sub(self.size).filter(|more| *more > 0)
            // If there is none, whoever needs it finds out.
            && fallocate(file, FallocateFlags::empty(), self.size, more).is_ok()
        {
            self.size = batch.needed;
        }
        map.set_valid(self.size);
        if self.fault.is_none() {
            self.fault = batch.write(file, map, piece).err();
        }
        if self.fault.is_some() {
            self.lost += entries;
        }
        batch.clear();
    }
}

impl Writer {
    /// Starts the thread, for batches of so many bytes; none if that is not possible.
    pub(super) fn start(file: &Arc<File>, batch: usize) -> Option<Self> {
        let desk = Arc::new(Desk {
            file: Arc::clone(file),
            lies: Mutex::new(Lies {
                batches: VecDeque::with_capacity(WAITING),
                empty: Vec::with_capacity(WAITING + 1),
                map: None,
                busy: false,
                end: None,
                over: false,
                outcome: Outcome::default(),
            }),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&desk);
        let builder = Builder::new().stack_size(STACK);
        let piece = Vec::with_capacity(batch);
        let thread = builder.spawn(move || theirs.work(piece)).ok()?;
        Some(Self {
            desk,
            thread: Some(thread),
        })
    }

    /// Hands a batch over, and the map, if the thread does not have it. Returns an empty one, if there
    /// is one, and how it went so far.
    pub(super) fn hand_over(&self, batch: Batch, map: Option<FileMap>) -> (Option<Batch>, Outcome) {
        let mut lies = self.desk.wait(|lies| lies.batches.len() < WAITING);
        lies.batches.push_back(batch);
        lies.map = map.or(lies.map.take());
        lies.busy = true;
        let answer = (lies.empty.pop(), lies.outcome);
        self.desk.tell(lies);
        answer
    }

    /// Waits until all is published, and the file has ended if it was to.
    pub(super) fn wait(&self) {
        drop(self.desk.wait(|lies| !lies.busy));
    }

    /// Takes back the map, once all is published, and how that went.
    pub(super) fn take_back(&self) -> (Option<FileMap>, Outcome) {
        let mut lies = self.desk.wait(|lies| !lies.busy);
        (lies.map.take(), std::mem::take(&mut lies.outcome))
    }

    /// Has the thread end the file, once all is published, and itself.
    pub(super) fn end_file(&self, end: End, map: Option<FileMap>) {
        let mut lies = self.desk.lock();
        lies.map = map.or(lies.map.take());
        lies.end = Some(end);
        lies.busy = true;
        self.desk.tell(lies);
    }

    /// Ends the thread, once it has done all; returns the memory it leaves.
    pub(super) fn end(mut self) -> (Vec<Batch>, Outcome) {
        self.stop();
        let mut lies = self.desk.lock();
        (std::mem::take(&mut lies.empty), lies.outcome)
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let mut lies = self.desk.lock();
            lies.over = true;
            self.desk.tell(lies);
            // It does not panic, and if it did, it would not be there any more either.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    /// The thread.
    fn work(&self, mut piece: Vec<u8>) {
        loop {
            let mut lies = self.wait(|lies| lies.busy || lies.over);
            let Some(mut map) = lies.map.take().filter(|_| lies.busy) else {
                return;
            };
            while let Some(mut batch) = lies.batches.pop_front() {
                let mut outcome = lies.outcome;
                self.tell(lies);
                outcome.publish(&mut batch, &self.file, &mut map, &mut piece);
                lies = self.lock();
                lies.outcome = outcome;
                lies.empty.push(batch);
            }
            let Some(end) = lies.end.take() else {
                lies.map = Some(map);
                lies.busy = false;
                self.tell(lies);
                continue;
            };
            drop(lies);
            end.write(&self.file, &mut map);
            lies = self.lock();
            lies.busy = false;
            self.tell(lies);
            // To unmap the file takes long, and nobody waits for that.
            return;
        }
    }

    /// Lets the other side see what lies there now.
    fn tell(&self, lies: MutexGuard<'_, Lies>) {
        drop(lies);
        self.changed.notify_all();
    }

    fn wait(&self, ready: impl Fn(&Lies) -> bool) -> MutexGuard<'_, Lies> {
        let waits = |lies: &mut Lies| !ready(lies);
        let waited = self.changed.wait_while(self.lock(), waits);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
