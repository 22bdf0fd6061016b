use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error_response::ErrorResponse;

/// One name of the vault with all its versions, the latest last; never without one, except while the first is set.
#[derive(Default)]
pub(super) struct Secret {
    pub(super) versions: Vec<Version>,
    /// Seconds since 1970; a name that has it lives on under `/deletedsecrets` only.
    pub(super) deleted_on: Option<u64>,
}

impl Secret {
    pub(super) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    pub(super) fn version(&mut self, name: &str, id: Option<&str>) -> Result<&mut Version, ErrorResponse> {
        match id {
            None => self.versions.last_mut(),
            Some(id) => self.versions.iter_mut().find(|version| version.id == id),
        }
        .ok_or_else(|| ErrorResponse::not_found(&id.map_or(name.to_owned(), |id| format!("{name}/{id}"))))
    }
}

/// One version of a secret. No `Debug`: it holds the value.
pub(super) struct Version {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) content_type: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) attributes: Attributes,
}

impl Version {
    /// What lists show: everything but the value.
    pub(super) fn properties(&self, id: &str) -> Value {
        let mut properties = json!({ "id": id, "attributes": self.attributes });
        if let Value::Object(fields) = &mut properties {
            fields.extend(
                self.content_type
                    .as_ref()
                    .map(|it| ("contentType".to_owned(), json!(it))),
            );
            fields.extend(self.tags.as_ref().map(|it| ("tags".to_owned(), json!(it))));
        }
        properties
    }

    /// What `get` and `set` answer: the properties and the value.
    pub(super) fn bundle(&self, id: &str) -> Value {
        let mut bundle = self.properties(id);
        if let Value::Object(fields) = &mut bundle {
            fields.insert("value".to_owned(), json!(self.value));
        }
        bundle
    }
}

/// The attributes of a version; times are seconds since 1970.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attributes {
    pub(super) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<u64>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) recovery_level: &'static str,
    pub(super) recoverable_days: u64,
}

impl Attributes {
    pub(super) fn new(now: u64) -> Self {
        Self {
            enabled: true,
            nbf: None,
            exp: None,
            created: now,
            updated: now,
            recovery_level: "Recoverable+Purgeable",
            recoverable_days: RECOVERABLE_DAYS,
        }
    }

    pub(super) fn updated(self, update: &AttributeUpdate, now: u64) -> Self {
        Self {
            enabled: update.enabled.unwrap_or(self.enabled),
            nbf: update.nbf.or(self.nbf),
            exp: update.exp.or(self.exp),
            updated: now,
            ..self
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SetSecret {
    pub(super) value: String,
    #[serde(flatten)]
    pub(super) properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) content_type: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) attributes: AttributeUpdate,
}

#[derive(Default, Deserialize)]
pub(super) struct AttributeUpdate {
    pub(super) enabled: Option<bool>,
    pub(super) nbf: Option<u64>,
    pub(super) exp: Option<u64>,
}

/// How long a deleted secret can be recovered in a vault that was made with the defaults.
pub(super) const RECOVERABLE_DAYS: u64 = 90;
