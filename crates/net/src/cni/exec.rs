//! Executing outside plugins (CNI specification, "Execution protocol").

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};

use super::CniResult;
use crate::attachment::Attachment;
use crate::error::{Error, Result};

/// Bytes of an answer that are read.
const MOST_BYTES: usize = 4 << 20;

/// Sets up through a plugin.
pub(crate) fn add(
    at: &Attachment<'_>,
    kind: &str,
    previous: Option<&CniResult>,
) -> Result<CniResult> {
    let answer = run(at, kind, "ADD", previous)?;
    let wrong = |problem: String| at.error(kind, problem);
    let value: Value = serde_json::from_slice(&answer)
        .map_err(|error| wrong(format!("its answer is not JSON: {error}")))?;
    CniResult::from_json(&value, at.cni_version).map_err(wrong)
}

/// Tears down through a plugin.
pub(crate) fn del(at: &Attachment<'_>, kind: &str, previous: Option<&CniResult>) -> Result<()> {
    run(at, kind, "DEL", previous).map(drop)
}

/// Checks through a plugin; those of versions before 0.4.0 cannot.
pub(crate) fn check(at: &Attachment<'_>, kind: &str, previous: &CniResult) -> Result<()> {
    if matches!(at.cni_version, "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1") {
        return Ok(());
    }
    run(at, kind, "CHECK", Some(previous)).map(drop)
}

/// Delegates address management to a plugin.
pub(crate) fn delegate_add(at: &Attachment<'_>, kind: &str) -> Result<CniResult> {
    add(at, kind, None)
}

/// Delegates the release of addresses to a plugin.
pub(crate) fn delegate_del(at: &Attachment<'_>, kind: &str) -> Result<()> {
    del(at, kind, None)
}

/// Finds a plugin's file.
pub(crate) fn find(at: &Attachment<'_>, kind: &str) -> Result<PathBuf> {
    let found = at.paths.find_plugin(kind);
    found.ok_or_else(|| Error::missing_plugin(at.network, kind, at.paths))
}

fn run(
    at: &Attachment<'_>,
    kind: &str,
    command: &str,
    previous: Option<&CniResult>,
) -> Result<Vec<u8>> {
    let path = find(at, kind)?;
    let failed = |problem: String| at.error(kind, problem);
    let plugins: Vec<String> = at
        .paths
        .plugins
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let mut child = Command::new(&path)
        .env("CNI_VERSION", "0.1.0")
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", at.container)
        .env(
            "CNI_NETNS",
            if at.netns.is_some() {
                at.netns_path
            } else {
                ""
            },
        )
        .env("CNI_IFNAME", at.ifname)
        .env("CNI_ARGS", crate::select::join_args(at.args))
        .env("CNI_PATH", plugins.join(":"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(Error::io("execute", &path))?;
    let input = input(at, previous);
    let talked = talk(&mut child, &input, at.paths.patience);
    if talked.is_err() {
        // With what it may have started.
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = child.wait().map_err(Error::io("wait for", &path))?;
    let output = talked.map_err(failed)?;
    if status.success() && !is_error(&output) {
        return Ok(output);
    }
    Err(refusal(at, kind, &output, &status.to_string()))
}

/// Some plugins end well and yet answer with an error object.
fn is_error(output: &[u8]) -> bool {
    let value = serde_json::from_slice::<Value>(output).unwrap_or_default();
    value
        .get("code")
        .and_then(Value::as_u64)
        .is_some_and(|code| code != 0)
        && value.get("msg").is_some()
}

fn refusal(at: &Attachment<'_>, kind: &str, output: &[u8], status: &str) -> Error {
    let value = serde_json::from_slice::<Value>(output).unwrap_or_default();
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let code = value
        .get("code")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let problem = match (text("msg"), text("details")) {
        ("", _) => format!("ended with {status} and no error message"),
        (message, "") => message.to_owned(),
        (message, details) => format!("{message}; {details}"),
    };
    Error::Plugin {
        network: at.network.to_owned(),
        plugin: kind.to_owned(),
        problem,
        code: u32::try_from(code).unwrap_or(u32::MAX),
    }
}

/// The configuration as the plugin gets it: with the network's name and version, the runtime's
/// capability arguments that it can use, and the result of the plugin before.
fn input(at: &Attachment<'_>, previous: Option<&CniResult>) -> Vec<u8> {
    let mut conf = at.conf.clone();
    conf.insert("cniVersion".to_owned(), json!(at.cni_version));
    conf.insert("name".to_owned(), json!(at.network));
    let capabilities = conf.remove("capabilities");
    let able = |capability: &str| {
        let value = capabilities
            .as_ref()
            .and_then(|value| value.get(capability));
        value.and_then(Value::as_bool).unwrap_or(false)
    };
    let mut runtime = Map::new();
    if able("portMappings") && !at.runtime.forwards.is_empty() {
        let list = at
            .runtime
            .forwards
            .iter()
            .map(crate::portmap::Forward::to_json)
            .collect();
        runtime.insert("portMappings".to_owned(), list);
    }
    if able("ips") && !at.runtime.ips.is_empty() {
        runtime.insert("ips".to_owned(), json!(at.runtime.ips));
    }
    if let (true, Some(mac)) = (able("mac"), &at.runtime.mac) {
        runtime.insert("mac".to_owned(), json!(mac));
    }
    if let (true, Some(limits)) = (able("bandwidth"), at.runtime.bandwidth) {
        runtime.insert("bandwidth".to_owned(), limits.to_json());
    }
    if !runtime.is_empty() {
        conf.insert("runtimeConfig".to_owned(), Value::Object(runtime));
    }
    if let (Some(previous), false) = (previous, matches!(at.cni_version, "0.1.0" | "0.2.0")) {
        conf.insert("prevResult".to_owned(), previous.to_json(at.cni_version));
    }
    Value::Object(conf).to_string().into_bytes()
}

/// Writes the input and reads the output, both bounded in size and time.
fn talk(child: &mut Child, input: &[u8], patience: Duration) -> Result<Vec<u8>, String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe holds 64 KiB; more is written as the plugin reads. One that does not read at
        // all is not worth a word: its answer says more than a broken pipe.
        let _ = stdin.write_all(input);
    }
    let Some(mut stdout) = child.stdout.take() else {
        return Ok(Vec::new());
    };
    let end = Instant::now() + patience;
    let mut output = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let ready = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&limit));
        if matches!(ready, Ok(0)) && end <= Instant::now() {
            return Err(format!(
                "did not answer within {} s; it was killed",
                patience.as_secs()
            ));
        }
        if !matches!(ready, Ok(1..)) {
            continue;
        }
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(output),
            Ok(length) => output.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) => return Err(format!("its answer cannot be read: {error}")),
        }
        if output.len() > MOST_BYTES {
            return Err(format!(
                "answered with more than {MOST_BYTES} bytes; it was killed"
            ));
        }
    }
}
