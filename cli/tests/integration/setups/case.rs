use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A broken set-up: `cli/tests/setups/NAME/case.toml`. `{…}` in a value stands for a value of the emulator:
/// `vault`, `blob`, `issuer`, `authority`, `client_id`, `tenant_id`, `folder`, `proxy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) name: String,
    /// The public report.
    pub(crate) source: String,
    /// What is broken.
    pub(crate) what: String,
    pub(crate) doctor: Option<Doctor>,
    #[serde(default)]
    pub(crate) pod: Pod,
    pub(crate) token: Option<Token>,
    #[serde(default)]
    pub(crate) entra: Entra,
    #[serde(default)]
    pub(crate) fault: Vec<Fault>,
}

impl Case {
    /// Manifests and modules that lead to this set-up, if there are any.
    pub(crate) fn files(&self) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setups");
        let files = folder.join(&self.name).join("files");
        files.is_dir().then_some(files)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn doctor(&self) -> &Doctor {
        self.doctor.as_ref().unwrap()
    }
}

/// What the doctor is asked, and what it must find.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Doctor {
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    pub(crate) cause: String,
    /// The code of Entra.
    pub(crate) aadsts: Option<u32>,
    /// Why no command of ours can fix it.
    pub(crate) not_ours: Option<String>,
}

/// How the pod differs from a healthy one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pod {
    /// Whether the webhook has changed it.
    pub(crate) without_webhook: bool,
    /// Whether it has an identity binding.
    pub(crate) is_bound: bool,
    /// Outside Kubernetes.
    pub(crate) is_elsewhere: bool,
    /// Variables of the manifest; an empty one is removed.
    pub(crate) environment: BTreeMap<String, String>,
    /// What the annotations of the service account are wrong about: variables of the webhook.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The token file, if it differs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Token {
    /// `missing`, `directory`, or the text of the file.
    pub(crate) file: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) service_account: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    /// In seconds.
    pub(crate) lifetime: Option<u64>,
    /// In seconds; negative for the future.
    pub(crate) age: Option<i64>,
    pub(crate) has_invalid_signature: bool,
}

/// What Entra knows, if it differs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
pub(crate) struct Entra {
    pub(crate) has_no_federated_credential: bool,
    pub(crate) federated: Option<Federated>,
    pub(crate) is_disabled: bool,
    pub(crate) issuer_is_down: bool,
    pub(crate) keys_are_rotated: bool,
    pub(crate) denies_binding: bool,
    /// How far its clock is ahead, in seconds.
    pub(crate) clock: i64,
}

/// A federated credential, in place of the right one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Federated {
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) audience: Option<String>,
}

/// A response that a server gives until the cause is gone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) endpoint: String,
    /// 0 for none at all.
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests are answered before.
    #[serde(default)]
    pub(crate) after: u32,
}

pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setups");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    let read = |folder: PathBuf| {
        let text = fs::read_to_string(folder.join("case.toml")).unwrap();
        let case: Case =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Case {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            ..case
        }
    };
    folders.into_iter().map(read).collect()
}
