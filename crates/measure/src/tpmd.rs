//! go-tspi's `tpmd`: a server that extends the PCRs of a TPM 1.2 through TrouSerS.

use std::io::Read;
use std::time::Duration;

use serde_json::json;

use crate::{Algorithm, EVENT_TYPE, Error, PCR, Result};

/// A TPM 1.2 may take a second.
const LIMIT: Duration = Duration::from_secs(10);
/// Of what it says this much is repeated.
const SAID: u64 = 200;

/// Has the PCR extended by an event.
pub(crate) fn extend(address: &str, event: &str) -> Result<()> {
    let unreachable = |source| Error::Unreachable {
        address: address.to_owned(),
        source: Box::new(source),
    };
    // No proxy knows this machine's own services.
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(LIMIT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build();
    let body = json!({"Pcr": PCR, "Eventtype": EVENT_TYPE, "Data": null, "Event": event});
    let response = ureq::Agent::new_with_config(config)
        .post(format!("http://{address}/v1/extend"))
        .header("Content-Type", "application/json")
        .send(body.to_string())
        .map_err(unreachable)?;
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(());
    }
    let mut said = Vec::new();
    // What cannot be read is not worth an error of its own.
    let _ = response
        .into_body()
        .into_reader()
        .take(SAID)
        .read_to_end(&mut said);
    let text = String::from_utf8_lossy(&said);
    Err(Error::Tpmd {
        address: address.to_owned(),
        status,
        text: text.trim().escape_debug().collect(),
    })
}

/// By what it extends the PCR: TSS 1.2, 2.6.2, hashes the PCR's number and the type, too.
pub(crate) fn digest(event: &[u8]) -> Vec<u8> {
    Algorithm::Sha1.of(&[&PCR.to_be_bytes(), &EVENT_TYPE.to_be_bytes(), event])
}
