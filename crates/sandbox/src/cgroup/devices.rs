//! The devices that a pod may use: those every app finds in `/dev`, and terminals.

/// Type, major and minor (`None` is any) of an allowed device.
pub(super) const ALLOWED: [(char, u32, Option<u32>); 10] = [
    ('c', 1, Some(3)),    // null
    ('c', 1, Some(5)),    // zero
    ('c', 1, Some(7)),    // full
    ('c', 1, Some(8)),    // random
    ('c', 1, Some(9)),    // urandom
    ('c', 5, Some(0)),    // tty
    ('c', 5, Some(1)),    // console
    ('c', 5, Some(2)),    // ptmx
    ('c', 10, Some(200)), // net/tun
    ('c', 136, None),     // pts/*
];
