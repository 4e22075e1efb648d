//! net: see the README's map of the tree.
