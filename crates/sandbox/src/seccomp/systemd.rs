//! systemd's groups of system calls (systemd.exec(5), "SystemCallFilter="), under the names of the
//! seccomp guide: `@systemd/GROUP`.

/// A line for each group: its name and its members, some of them groups; lines that begin with a
/// space go on with the group before. systemd calls nothing `default-whitelist`: it is what
/// systemd offers for services in general.
const GROUPS: &str = include_str!("systemd.txt");

/// The members of a group; `None` for a name that is not a group's.
pub(super) fn group(name: &str) -> Option<impl Iterator<Item = &'static str>> {
    let mut lines = GROUPS.lines();
    let first = lines.find(|line| line.split(' ').next() == Some(name))?;
    let rest = lines.take_while(|line| line.starts_with(' '));
    let members = first.split_ascii_whitespace().skip(1);
    Some(members.chain(rest.flat_map(str::split_ascii_whitespace)))
}

/// Whether a call is in any group: some are of architectures that rkt has no table for.
pub(super) fn knows(call: &str) -> bool {
    GROUPS.split_ascii_whitespace().any(|word| word == call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_group_is_found_and_every_nested_one_exists() {
        let names: Vec<_> = GROUPS.lines().filter(|l| l.starts_with('@')).collect();
        assert_eq!(names.len(), 30);
        for line in names {
            let name = line.split(' ').next().unwrap();
            let members: BTreeSet<_> = group(name).unwrap().collect();
            assert!(!members.is_empty(), "{name}");
            for nested in members.iter().filter(|m| m.starts_with('@')) {
                assert!(group(nested).is_some(), "{name} holds {nested}");
            }
        }
        assert!(group("@systemd/nothing").is_none());
        assert!(group("uname").is_none());
    }
}
