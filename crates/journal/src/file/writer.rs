//! A thread that publishes batches, while the next one is gathered. It allocates and frees nothing but
//! while it starts and ends: memory goes back and forth with the batches.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::io::Errno;
use sandbox::filemap::FileMap;

use super::batch::Batch;

/// It has little to remember.
const STACK: usize = 64 * 1024;

/// The thread of one file.
#[derive(Debug)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// A batch, and the map of the file that it is for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) map: FileMap,
    pub(super) outcome: Result<(), Errno>,
}

/// Where batches are handed over.
#[derive(Debug, Default)]
struct Desk {
    lies: Mutex<Lies>,
    changed: Condvar,
}

/// What lies there.
#[derive(Debug, Default)]
enum Lies {
    #[default]
    Nothing,
    ToDo(Box<Job>),
    /// The thread has it.
    Taken,
    Done(Box<Job>),
    /// Nothing, and there will be nothing more.
    End,
}

impl Writer {
    /// Starts the thread; none if that is not possible.
    pub(super) fn start(file: &Arc<File>) -> Option<Self> {
        let desk = Arc::new(Desk::default());
        let (file, theirs) = (Arc::clone(file), Arc::clone(&desk));
        let builder = Builder::new().stack_size(STACK);
        let thread = builder.spawn(move || theirs.work(&file)).ok()?;
        Some(Self {
            desk,
            thread: Some(thread),
        })
    }

    /// Hands a batch over. The one before was taken back.
    pub(super) fn hand_over(&self, job: Box<Job>) {
        self.desk.lay(Lies::ToDo(job));
    }

    /// Takes back what was handed over, once it is done.
    pub(super) fn take_back(&self) -> Option<Box<Job>> {
        let mut lies = self
            .desk
            .wait(|lies| !matches!(lies, Lies::ToDo(_) | Lies::Taken));
        match std::mem::replace(&mut *lies, Lies::Nothing) {
            Lies::Done(job) => Some(job),
            _ => None,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.take_back();
        self.desk.lay(Lies::End);
        // It does not panic, and if it did, it would not be there any more either.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Desk {
    /// The thread.
    fn work(&self, file: &File) {
        loop {
            let mut lies = self.wait(|lies| matches!(lies, Lies::ToDo(_) | Lies::End));
            let Lies::ToDo(mut job) = std::mem::replace(&mut *lies, Lies::Taken) else {
                return;
            };
            drop(lies);
            job.work(file);
            self.lay(Lies::Done(job));
        }
    }

    fn lay(&self, what: Lies) {
        *self.lock() = what;
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

impl Job {
    /// Publishes the batch.
    pub(super) fn work(&mut self, file: &File) {
        self.outcome = self.batch.write(file, &mut self.map);
    }
}
