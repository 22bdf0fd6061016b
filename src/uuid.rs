/// Returns a random UUID (version 4, RFC 9562). It is unique, but not secret.
pub(crate) fn random() -> String {
    let id = fastrand::u128(..) & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{id:032x}");
    let group = |range| hex.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        group(0..8),
        group(8..12),
        group(12..16),
        group(16..20),
        group(20..32)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_returns_uuids_of_version_4_that_differ() {
        for _ in 0..100 {
            let id = random();
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "the version of {id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "the variant of {id}");
        }
        assert_ne!(random(), random());
    }
}
