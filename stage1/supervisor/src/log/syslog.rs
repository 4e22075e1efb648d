//! Messages of syslog(3): `<priority>time identifier[pid]: text`.

/// A message's parts as fields.
pub(super) fn fields(message: &[u8]) -> Vec<Vec<u8>> {
    let message = message.strip_suffix(b"\0").unwrap_or(message);
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let (number, text) = priority(message);
    let text = after_time(text);
    let (identifier, text) = identifier(text);
    let mut fields = vec![
        [b"MESSAGE=", text].concat(),
        format!("PRIORITY={}", number & 7).into_bytes(),
        format!("SYSLOG_FACILITY={}", number >> 3).into_bytes(),
    ];
    if let Some((name, pid)) = identifier {
        fields.push([b"SYSLOG_IDENTIFIER=", name].concat());
        if let Some(pid) = pid {
            fields.push([b"SYSLOG_PID=", pid].concat());
        }
    }
    fields
}

/// The number in angle brackets, and what follows; `user.info` where there is none.
fn priority(message: &[u8]) -> (u16, &[u8]) {
    const DEFAULT: u16 = 1 << 3 | 6;
    let parse = || {
        let rest = message.strip_prefix(b"<")?;
        let end = rest.iter().take(4).position(|&b| b == b'>')?;
        let number: u16 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        (number < 1024).then_some((number, &rest[end + 1..]))
    };
    parse().unwrap_or((DEFAULT, message))
}

/// Without `Nov 25 20:15:00 `, if it is there: the journal has a time of its own.
fn after_time(text: &[u8]) -> &[u8] {
    let shape = b"aaa 99 99:99:99 ";
    let fits = |(byte, kind): (&u8, &u8)| match kind {
        b'a' => byte.is_ascii_alphabetic(),
        b'9' => byte.is_ascii_digit() || *byte == b' ',
        other => byte == other,
    };
    match text.len() >= shape.len() && text.iter().zip(shape).all(fits) {
        true => &text[shape.len()..],
        false => text,
    }
}

type Identifier<'a> = (&'a [u8], Option<&'a [u8]>);

/// `name[pid]: ` or `name: `, if it is there, and what follows.
fn identifier(text: &[u8]) -> (Option<Identifier<'_>>, &[u8]) {
    let end = text.iter().position(|b| b" :".contains(b));
    let Some(end) = end.filter(|&end| end > 0 && text[end] == b':') else {
        return (None, text);
    };
    let (head, rest) = (&text[..end], &text[end + 1..]);
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let with_pid = head.strip_suffix(b"]").and_then(|head| {
        let open = head.iter().position(|&b| b == b'[')?;
        Some((&head[..open], Some(&head[open + 1..])))
    });
    (Some(with_pid.unwrap_or((head, None))), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str) -> Vec<String> {
        let fields = fields(message.as_bytes()).into_iter();
        fields.map(|f| String::from_utf8(f).unwrap()).collect()
    }

    #[test]
    fn the_usual_form() {
        assert_eq!(
            text("<29>Nov  5 20:15:00 cron[17]: ran\n"),
            [
                "MESSAGE=ran",
                "PRIORITY=5",
                "SYSLOG_FACILITY=3",
                "SYSLOG_IDENTIFIER=cron",
                "SYSLOG_PID=17"
            ]
        );
    }

    #[test]
    fn less_than_that() {
        assert_eq!(
            text("hello there"),
            ["MESSAGE=hello there", "PRIORITY=6", "SYSLOG_FACILITY=1"]
        );
        assert_eq!(text("<3>web: down")[3], "SYSLOG_IDENTIFIER=web");
        assert_eq!(text("<9999>x")[0], "MESSAGE=<9999>x");
        assert_eq!(text("")[0], "MESSAGE=");
    }
}
