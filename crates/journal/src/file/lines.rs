//! The entries that there are most of: one new field, behind those that it has in common with others.
//! They are gathered as text, and laid out as objects by whoever writes them: all data objects, and
//! behind them all entries. Only the former change later, as the tables' chains pass there.

use super::chain::{Gathered, item};
use super::data::Field;
use super::{JournalFile, Stamp};
use crate::format::{aligned, kind, object};
use crate::hash;

/// A data object up to its payload.
const HEAD: usize = object::DATA_PAYLOAD as usize;
/// Longer fields take the long way, on which this one's work is little.
const SHORT: usize = 1024;

/// Such entries, which follow each other.
#[derive(Debug, Default)]
pub(super) struct Lines {
    runs: Vec<Run>,
    lines: Vec<Line>,
    /// Their fields.
    text: Vec<u8>,
    /// An entry of each run, without what differs.
    entries: Vec<u8>,
    /// Bytes of the data objects, and of the entries.
    data_length: usize,
    entries_length: usize,
}

/// A field: its hashes and its length.
#[derive(Debug, Clone, Copy)]
struct Line {
    hash: u64,
    jenkins: u64,
    length: usize,
}

/// Lines that have all in common but their fields, and follow each other's numbers.
#[derive(Debug)]
struct Run {
    /// The number of what they have in common, and its part of their identity.
    common: u64,
    xor: u64,
    /// Of both clocks.
    times: [u64; 2],
    /// The number of the first one, and the next one's.
    first: u64,
    next: u64,
    /// The data objects of their name before them, and the last of them.
    before: u64,
    last: u64,
    /// The end of their lines, the end of their entry, and where their field goes in it.
    lines: usize,
    entry: usize,
    item: u64,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Bytes of the data objects.
    pub(super) fn data_length(&self) -> usize {
        self.data_length
    }

    /// Bytes of all objects.
    pub(super) fn length(&self) -> usize {
        self.data_length + self.entries_length
    }

    /// Bytes of the last entry.
    pub(super) fn last_length(&self) -> usize {
        let before = self.runs.iter().rev().nth(1).map_or(0, |run| run.entry);
        self.entries.len() - before
    }

    /// Lays out the data objects, which begin at an offset.
    pub(super) fn put_data(&self, mut at: u64, into: &mut Vec<u8>) {
        let mut entry = at + self.data_length as u64;
        let mut text = &self.text[..];
        for (run, lines, template) in self.runs() {
            let mut before = run.before;
            for line in lines {
                let (payload, rest) = text.split_at(line.length);
                text = rest;
                let size = HEAD + payload.len();
                let mut head = [0; HEAD];
                let mut put = |at, bytes: &[u8]| object::put(&mut head, at, bytes);
                put(0, &object::head(kind::DATA, size as u64));
                put(object::HASH, &line.hash.to_le_bytes());
                put(object::DATA_NEXT_FIELD, &before.to_le_bytes());
                put(object::DATA_ENTRY, &entry.to_le_bytes());
                put(object::DATA_N_ENTRIES, &1u64.to_le_bytes());
                into.extend_from_slice(&head);
                into.extend_from_slice(payload);
                let length = aligned(size as u64);
                into.extend_from_slice(&[0; 8][..length as usize - size]);
                before = at;
                at += length;
                entry += template.len() as u64;
            }
        }
    }

    /// Lays out the entries of data objects that begin at an offset, and notes where they are.
    pub(super) fn put_entries(&self, data: u64, into: &mut Vec<u8>, gathered: &mut Gathered) {
        let mut data = data;
        let mut at = data + self.data_length as u64;
        for (run, lines, template) in self.runs() {
            for (line, seqnum) in lines.iter().zip(run.first..) {
                let start = into.len();
                into.extend_from_slice(template);
                let entry = &mut into[start..];
                let mut put = |at, bytes: &[u8]| object::put(entry, at, bytes);
                put(object::ENTRY_SEQNUM, &seqnum.to_le_bytes());
                put(object::ENTRY_XOR, &(run.xor ^ line.jenkins).to_le_bytes());
                put(run.item, &item(data));
                gathered.push(at);
                at += template.len() as u64;
                data += aligned((HEAD + line.length) as u64);
            }
        }
    }

    /// Each run with its lines and its entry.
    fn runs(&self) -> impl Iterator<Item = (&Run, &[Line], &[u8])> {
        let mut start = (0, 0);
        self.runs.iter().map(move |run| {
            let (lines, entry) = std::mem::replace(&mut start, (run.lines, run.entry));
            let lines = &self.lines[lines..run.lines];
            (run, lines, &self.entries[entry..run.entry])
        })
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.lines.clear();
        self.text.clear();
        self.entries.clear();
        self.data_length = 0;
        self.entries_length = 0;
    }

    /// Lets go of memory.
    pub(super) fn rest(&mut self) {
        self.runs.shrink_to(0);
        self.lines.shrink_to(0);
        self.text.shrink_to(0);
        self.entries.shrink_to(0);
    }
}

impl JournalFile {
    /// Gathers an entry that has one field of its own, which no other has. `false`, and nothing done,
    /// if that is not so for sure, or if there is no room.
    pub(super) fn append_line(&mut self, stamp: Stamp, field: Field<'_>) -> bool {
        let [name, value] = field;
        let payload = name.len() + value.len();
        let last = self.names.get(self.last_name);
        let is_last = last.is_some_and(|last| name.strip_suffix(b"=") == Some(&last.name));
        let length = aligned((HEAD + payload) as u64) as usize;
        let entry = &self.common.entry[..];
        if payload > SHORT || !is_last || !self.disk.has_room(length + entry.len()) {
            return false;
        }
        let offset = self.disk.batch.next_line();
        let lines = &mut self.disk.batch.lines;
        // Not of the text that is gathered: what was just written is not read as fast.
        let (hash, jenkins) = hash::both(&self.ids.file, field);
        if self.seen.insert(hash) {
            return false;
        }
        lines.text.extend_from_slice(name);
        lines.text.extend_from_slice(value);
        lines.lines.push(Line {
            hash,
            jenkins,
            length: payload,
        });
        lines.data_length += length;
        lines.entries_length += entry.len();
        let before = self.names[self.last_name].head;
        let follows = |run: &&mut Run| {
            (run.common, run.last, run.next, run.times)
                == (
                    self.common.number,
                    before,
                    stamp.seqnum,
                    [stamp.realtime, stamp.monotonic],
                )
        };
        if let Some(run) = lines.runs.last_mut().filter(follows) {
            run.last = offset;
            run.next += 1;
            run.lines += 1;
        } else {
            let start = lines.entries.len();
            lines.entries.extend_from_slice(entry);
            stamp.put(&mut lines.entries[start..], 0);
            lines.runs.push(Run {
                common: self.common.number,
                xor: self.common.xor,
                times: [stamp.realtime, stamp.monotonic],
                first: stamp.seqnum,
                next: stamp.seqnum + 1,
                before,
                last: offset,
                lines: lines.lines.len(),
                entry: lines.entries.len(),
                item: self.common.next_item(),
            });
        }
        self.added(self.last_name, self.data_table.bucket(hash), offset);
        self.common.room -= 1;
        self.numbers.line(stamp);
        true
    }
}
