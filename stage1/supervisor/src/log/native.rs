//! The journal's native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`): fields, one after another.

use memchr::memchr;

/// Fields that only the journal itself may set begin with an underscore; ours are ours.
fn may_be_sent(name: &[u8]) -> bool {
    let fine = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
    let ours = name == b"RKT_APP" || name == b"RKT_STREAM";
    !name.is_empty()
        && name.len() <= 64
        && !matches!(name[0], b'_' | b'0'..=b'9')
        && name.iter().all(fine)
        && !ours
}

/// A message of more fields is none, as for journald.
const FIELDS_MAX: usize = 1000;

/// The fields of a message, as `NAME=value`; what is no field is passed over.
pub(super) fn fields(mut message: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while let Some(end) = memchr(b'\n', message) {
        if fields.len() >= FIELDS_MAX {
            return Vec::new();
        }
        let (line, rest) = (&message[..end], &message[end + 1..]);
        message = rest;
        if let Some(equals) = memchr(b'=', line) {
            if may_be_sent(&line[..equals]) {
                fields.push(line.to_vec());
            }
            continue;
        }
        // A name alone: the length of the value follows in eight bytes, then the value.
        let Some((size, value)) = rest.split_at_checked(8) else {
            break;
        };
        let size = size.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let Some((value, rest)) = usize::try_from(size)
            .ok()
            .and_then(|size| value.split_at_checked(size))
        else {
            break;
        };
        if may_be_sent(line) {
            fields.push([line, b"=", value].concat());
        }
        message = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_field() {
        let message =
            b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\nPRIORITY=3\n_PID=1\nlower=x\nRKT_APP=x\nX=\n";
        let expected: [&[u8]; 3] = [b"MESSAGE=a\nb=c", b"PRIORITY=3", b"X="];
        assert_eq!(fields(message), expected);
    }

    #[test]
    fn not_too_many() {
        let message = |count: usize| b"A=1\n".repeat(count);
        assert_eq!(fields(&message(FIELDS_MAX)).len(), FIELDS_MAX);
        assert!(fields(&message(100_000)).is_empty());
    }

    #[test]
    fn nonsense_is_passed_over() {
        for bad in [
            &b""[..],
            b"\n",
            b"A\n\xff\xff\xff\xff\xff\xff\xff\xff",
            b"A\nshort",
            b"=x\n",
        ] {
            assert!(fields(bad).is_empty(), "{bad:?}");
        }
    }
}
