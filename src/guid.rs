//! Without the crate `uuid`, which the core does not have.

/// Whether `text` is a GUID with hyphens: without, it may be a key.
pub(crate) fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hex && lengths.eq([8, 4, 4, 4, 12])
}

/// Returns a random GUID (version 4, RFC 9562). It is unique, but not secret.
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
    fn random_returns_guids_of_version_4_that_differ() {
        for _ in 0..100 {
            let id = random();
            assert!(is_guid(&id), "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "the version of {id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "the variant of {id}");
        }
        assert_ne!(random(), random());
    }

    #[test]
    fn guid_has_five_groups_of_hexadecimal_digits_in_any_case() {
        assert!(is_guid("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"));
        assert!(is_guid("7A5FF21B-4F5B-4F5B-9E3E-2C0B5A1D9A10"));
        for text in [
            "",
            "7a5ff21b4f5b4f5b9e3e2c0b5a1d9a10",
            "{7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}",
            "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a1g",
            "7a5ff21b4-f5b-4f5b-9e3e-2c0b5a1d9a10",
            "------------------------------------",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
