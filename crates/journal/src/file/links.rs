//! Objects that are gathered and that the tables do not find yet.

/// So many are looked at at once.
const STRIDE: usize = 64;

/// Each object behind the place of its bucket. Files are too small for more than 32 bits.
#[derive(Debug, Default)]
pub(super) struct Links {
    buckets: Vec<u32>,
    objects: Vec<u32>,
}

impl Links {
    pub(super) fn push(&mut self, bucket: u64, object: u64) {
        self.buckets.push(bucket as u32);
        self.objects.push(object as u32);
    }

    /// In the order they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.buckets.iter().zip(&self.objects);
        pairs.map(|(bucket, object)| (u64::from(*bucket), u64::from(*object)))
    }

    /// The objects of one bucket.
    pub(super) fn of(&self, bucket: u64) -> impl Iterator<Item = u64> {
        let bucket = bucket as u32;
        let strides = self.buckets.chunks(STRIDE).zip(self.objects.chunks(STRIDE));
        strides
            .filter(move |(buckets, _)| has(buckets, bucket))
            .flat_map(|(buckets, objects)| buckets.iter().zip(objects))
            .filter(move |(there, _)| **there == bucket)
            .map(|(_, object)| u64::from(*object))
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        self.objects.clear();
    }

    /// Lets go of memory.
    pub(super) fn rest(&mut self) {
        self.buckets.shrink_to(0);
        self.objects.shrink_to(0);
    }
}

/// Whether a number is among some, without an end in the midst, so that many are compared with one
/// instruction.
pub(super) fn has(numbers: &[u32], number: u32) -> bool {
    let is_it = numbers.iter().map(|there| *there == number);
    is_it.fold(false, |any, is_it| any | is_it)
}
