//! The configuration as `rkt config` prints it (page "rkt config").

use serde_json::{Map, Value, json};

use crate::auth::{Auth, Basic};
use crate::{Config, Paths, Stage1, Tpm};

impl Config {
    /// What was merged, as valid configuration entries: `{"stage0": [...]}`. Secrets are in it,
    /// since whoever may read the files may see them.
    pub fn to_json(&self) -> Value {
        let mut entries = Vec::new();
        for (host, auth) in &self.credentials.hosts {
            let (kind, credentials) = auth_fields(auth);
            let fields = json!({"domains": [host], "type": kind, "credentials": credentials});
            entries.push(entry("auth", fields));
        }
        for (registry, basic) in &self.credentials.registries {
            let fields = json!({"registries": [registry], "credentials": basic_fields(basic)});
            entries.push(entry("dockerAuth", fields));
        }
        entries.extend(paths_fields(&self.paths).map(|fields| entry("paths", fields)));
        entries.extend(stage1_fields(&self.stage1).map(|fields| entry("stage1", fields)));
        entries.extend(tpm_fields(&self.tpm).map(|fields| entry("tpm", fields)));
        json!({ "stage0": entries })
    }
}

fn entry(kind: &str, fields: Value) -> Value {
    let mut object = Map::new();
    object.insert("rktVersion".to_owned(), "v1".into());
    object.insert("rktKind".to_owned(), kind.into());
    if let Value::Object(fields) = fields {
        object.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(object)
}

fn auth_fields(auth: &Auth) -> (&'static str, Value) {
    match auth {
        Auth::Basic(basic) => ("basic", basic_fields(basic)),
        Auth::OAuth { token } => ("oauth", json!({"token": token.reveal()})),
        Auth::Aws {
            access_key_id,
            secret_access_key,
            region,
        } => (
            "aws",
            json!({
                "accessKeyID": access_key_id,
                "secretAccessKey": secret_access_key.reveal(),
                "awsRegion": region.as_deref().unwrap_or_default(),
            }),
        ),
    }
}

fn basic_fields(basic: &Basic) -> Value {
    json!({"user": basic.user, "password": basic.password.reveal()})
}

fn paths_fields(paths: &Paths) -> Option<Value> {
    let text = |p: &Option<std::path::PathBuf>| p.as_ref().map(|p| p.display().to_string());
    let (data, stage1) = (text(&paths.data), text(&paths.stage1_images));
    (data.is_some() || stage1.is_some()).then(|| json!({"data": data, "stage1-images": stage1}))
}

fn stage1_fields(stage1: &Stage1) -> Option<Value> {
    let (name, version) = stage1.image.clone().unzip();
    let location = &stage1.location;
    (name.is_some() || location.is_some())
        .then(|| json!({"name": name, "version": version, "location": location}))
}

fn tpm_fields(tpm: &Tpm) -> Option<Value> {
    let measure = tpm.measure.map(|how| how.word());
    let address = &tpm.address;
    (measure.is_some() || address.is_some())
        .then(|| json!({"measure": measure, "address": address}))
}
