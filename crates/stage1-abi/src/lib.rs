//! stage1-abi: see the README's map of the tree.
