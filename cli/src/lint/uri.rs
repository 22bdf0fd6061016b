use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Component, Path};

use super::kustomize::normal;

/// A path as a URI: relative to a folder if it is in it, else with the scheme `file`.
pub(super) fn of(path: &Path, folder: &Path) -> String {
    let whole = normal(&folder.join(path));
    let (scheme, path) = match whole.strip_prefix(folder) {
        Ok(relative) if relative.as_os_str().is_empty() => return ".".to_owned(),
        Ok(relative) => ("", relative),
        Err(_) => ("file:///", whole.as_path()),
    };
    let parts = path.components().filter(|part| *part != Component::RootDir);
    let parts: Vec<String> = parts.map(|part| encoded(part.as_os_str())).collect();
    scheme.to_owned() + &parts.join("/")
}

fn encoded(part: &OsStr) -> String {
    let mut text = String::new();
    for byte in part.as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
