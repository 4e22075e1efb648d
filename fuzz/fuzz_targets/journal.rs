//! Any bytes as a journal file: what is read of it ends, and each entry has what it says.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, Write};

use journal::Reader;
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

/// A file that names its entries again and again ends some day, but not soon.
const ENTRIES: usize = 10_000;

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a file"));
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        let written = file
            .as_file()
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(bytes));
        written.expect("the file is written");
        let Ok(mut reader) = Reader::open(file.path()) else {
            return;
        };
        let _ = (reader.last_seqnum(), reader.is_finished());
        for _ in 0..ENTRIES {
            match reader.next_entry() {
                Ok(Some(entry)) => drop(entry.get("MESSAGE").map(<[u8]>::to_vec)),
                Ok(None) | Err(_) => break,
            }
        }
    });
});
