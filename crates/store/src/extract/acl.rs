//! POSIX ACLs: from the text that archives hold to the kernel's attribute.

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;
/// Entries of one ACL.
const ENTRIES: usize = 1024;

/// Encodes an ACL: entries `user:1000:r-x`, divided by commas or newlines, with a number for the
/// name or in a fourth field (`user:joe:r-x:1000`). Entries whose name has no number are left
/// out, since only the builder's machine knew it. `None` if nothing is left.
pub(super) fn encode(text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "its ACL is not text".to_owned())?;
    let mut entries: Vec<(u16, u32, u16)> = Vec::new();
    for line in text.split([',', '\n']) {
        // `#effective:…` follows entries that the mask cuts.
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if entries.len() == ENTRIES {
            return Err(format!("its ACL has more than {ENTRIES} entries"));
        }
        let entry = parse(line).ok_or_else(|| format!("its ACL has a damaged entry {line:?}"))?;
        entries.extend(entry);
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let named = |e: &&(u16, u32, u16)| matches!(e.0, USER | GROUP | GROUP_OBJ);
    if entries.iter().any(|e| matches!(e.0, USER | GROUP)) && !entries.iter().any(|e| e.0 == MASK) {
        let mask = entries.iter().filter(named).fold(0, |all, e| all | e.2);
        entries.push((MASK, NO_ID, mask));
    }
    entries.sort_unstable();
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(Some(value))
}

/// One entry; `Some(None)` if its name has no number.
fn parse(line: &str) -> Option<Option<(u16, u32, u16)>> {
    let mut fields = line.split(':');
    let tag = fields.next()?;
    let mut name = fields.next()?;
    let letters = match fields.next() {
        Some(letters) => letters,
        // `other:r-x`, `mask:r-x`: the short form.
        None => std::mem::take(&mut name),
    };
    let number = fields.next();
    let permissions = permissions(letters)?;
    let (own, other) = match tag {
        "user" | "u" => (USER_OBJ, USER),
        "group" | "g" => (GROUP_OBJ, GROUP),
        "mask" | "m" => (MASK, MASK),
        "other" | "o" => (OTHER, OTHER),
        _ => return None,
    };
    if name.is_empty() {
        return Some(Some((own, NO_ID, permissions)));
    }
    if own == other {
        return None;
    }
    let id = number
        .unwrap_or(name)
        .parse()
        .ok()
        .filter(|id| *id != NO_ID);
    Some(id.map(|id| (other, id, permissions)))
}

fn permissions(letters: &str) -> Option<u16> {
    letters.bytes().try_fold(0, |all, letter| match letter {
        b'r' => Some(all | 4),
        b'w' => Some(all | 2),
        b'x' => Some(all | 1),
        b'-' => Some(all),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_attributes() {
        let value = encode(b"user::rwx\nuser:1000:r--\ngroup::r-x\nmask::r-x\nother::r--\n")
            .unwrap()
            .unwrap();
        assert_eq!(value.len(), 4 + 5 * 8);
        assert_eq!(value[..8], [2, 0, 0, 0, 1, 0, 7, 0]);
        let short = encode(b"u::rwx,u:joe:r-x:7,g::r-x,o::---")
            .unwrap()
            .unwrap();
        assert_eq!(short.len(), 4 + 5 * 8, "a mask is added");
        assert_eq!(short[12..20], [2, 0, 5, 0, 7, 0, 0, 0]);
        assert_eq!(encode(b"user:joe:rwx").unwrap(), None);
        assert_eq!(encode(b"\n").unwrap(), None);
        for bad in [&b"user"[..], b"who::r", b"mask:5:r", b"user::rwz", b"\xff"] {
            assert!(encode(bad).is_err(), "{bad:?}");
        }
    }
}
