use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error_response::ErrorResponse;

/// A secret with all its versions, the latest last. It always has a version once it is stored.
pub(super) struct Secret {
    /// As it was written first.
    pub(super) name: String,
    pub(super) versions: Vec<Version>,
    /// In seconds since the Unix epoch. A deleted secret is only visible below `/deletedsecrets`.
    pub(super) deleted_on: Option<u64>,
}

impl Secret {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            versions: Vec::new(),
            deleted_on: None,
        }
    }

    /// Adds a version without properties.
    ///
    /// * `now`: in seconds since the Unix epoch.
    pub(super) fn add_version(&mut self, value: String, now: u64) {
        self.versions.push(Version {
            id: format!("{:032x}", fastrand::u128(..)),
            value,
            content_type: None,
            tags: None,
            attributes: Attributes::new(now),
        });
    }

    /// Whether its time to be recovered is over.
    ///
    /// * `now`: in seconds since the Unix epoch.
    pub(super) fn is_purged(&self, now: u64) -> bool {
        self.deleted_on
            .is_some_and(|deleted_on| now >= deleted_on + RECOVERABLE_DAYS * 86_400)
    }

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

/// A version of a secret. Does not implement `Debug`, so that the value is never shown.
pub(super) struct Version {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) content_type: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) attributes: Attributes,
}

impl Version {
    /// Returns everything except the value, as in lists.
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

    /// Returns the properties and the value, the response of get and set.
    pub(super) fn bundle(&self, id: &str) -> Value {
        let mut bundle = self.properties(id);
        if let Value::Object(fields) = &mut bundle {
            fields.insert("value".to_owned(), json!(self.value));
        }
        bundle
    }
}

/// The attributes of a version. Times are in seconds since the Unix epoch.
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

/// The default number of days in which a deleted secret can be recovered.
pub(super) const RECOVERABLE_DAYS: u64 = 90;
