//! sandbox: see the README's map of the tree.
#![expect(unsafe_code, reason = "this crate is the one place for it; each block says why it is sound")]

pub mod netns;
