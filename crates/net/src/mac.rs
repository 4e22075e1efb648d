//! Ethernet addresses as text.

/// `02:42:ac:11:00:02`.
pub(crate) fn text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Reads an address of six colon- or dash-separated bytes.
pub(crate) fn parse(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_and_back() {
        let mac = super::parse("02:42:AC:11:00:02").unwrap();
        assert_eq!(super::text(mac), "02:42:ac:11:00:02");
        assert_eq!(super::parse("02:42:ac:11:00"), None);
        assert_eq!(super::parse("02:42:ac:11:00:02:03"), None);
        assert_eq!(super::parse("+2:42:ac:11:00:02"), None);
    }
}
