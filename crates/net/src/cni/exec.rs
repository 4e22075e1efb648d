//! Executing outside plugins (CNI specification, "Execution protocol").

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};

use super::CniResult;
use crate::attachment::{Attachment, Paths};
use crate::config::VERSIONS;
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
    CniResult::from_json(&value, &at.network.cni_version).map_err(wrong)
}

/// Tears down through a plugin.
pub(crate) fn del(at: &Attachment<'_>, kind: &str, previous: Option<&CniResult>) -> Result<()> {
    run(at, kind, "DEL", previous).map(drop)
}

/// Checks through a plugin; those of versions before 0.4.0 cannot.
pub(crate) fn check(at: &Attachment<'_>, kind: &str, previous: &CniResult) -> Result<()> {
    if matches!(
        at.network.cni_version.as_str(),
        "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1"
    ) {
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
    found.ok_or_else(|| Error::missing_plugin(&at.network.name, kind, at.paths))
}

fn run(
    at: &Attachment<'_>,
    kind: &str,
    command: &str,
    previous: Option<&CniResult>,
) -> Result<Vec<u8>> {
    let path = find(at, kind)?;
    let netns = match at.netns {
        Some(_) => at.netns_path,
        None => "",
    };
    let mut program = Command::new(&path);
    program
        .env("CNI_VERSION", "0.1.0")
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", at.container)
        .env("CNI_NETNS", netns)
        .env("CNI_IFNAME", at.ifname)
        .env("CNI_ARGS", crate::select::join_args(at.args))
        .env("CNI_PATH", search_path(at.paths));
    let input = input(at, previous);
    let (output, status) = execute(program, &path, &input, at.paths.patience)?;
    let output = output.map_err(|problem| at.error(kind, problem))?;
    if status.success() && !is_error(&output) {
        return Ok(output);
    }
    Err(refusal(at, kind, &output, &status.to_string()))
}

/// The versions of the specification that a plugin speaks, as it says itself.
pub(crate) fn versions(network: &str, kind: &str, paths: &Paths) -> Result<Vec<String>> {
    let wrong = |problem: String| Error::Plugin {
        network: network.to_owned(),
        plugin: kind.to_owned(),
        problem,
        code: 0,
    };
    let found = paths.find_plugin(kind);
    let path = found.ok_or_else(|| Error::missing_plugin(network, kind, paths))?;
    let newest = VERSIONS.last().copied().unwrap_or_default();
    let mut program = Command::new(&path);
    program
        .env("CNI_COMMAND", "VERSION")
        .env("CNI_PATH", search_path(paths));
    let question = json!({ "cniVersion": newest }).to_string();
    let (output, status) = execute(program, &path, question.as_bytes(), paths.patience)?;
    let output = output.map_err(&wrong)?;
    let answer: Value = serde_json::from_slice(&output).unwrap_or_default();
    let listed = answer.get("supportedVersions").and_then(Value::as_array);
    let spoken: Option<Vec<String>> = listed
        .filter(|_| status.success())
        .map(|listed| listed.iter().filter_map(Value::as_str).map(str::to_owned))
        .map(Iterator::collect);
    spoken.ok_or_else(|| wrong("does not tell which CNI versions it speaks".to_owned()))
}

/// `CNI_PATH`.
fn search_path(paths: &Paths) -> String {
    let plugins = paths.plugins.iter().map(|path| path.display().to_string());
    plugins.collect::<Vec<_>>().join(":")
}

/// Executes a plugin to its end: its output, or what is wrong with it, and its status.
fn execute(
    mut program: Command,
    path: &Path,
    input: &[u8],
    patience: Duration,
) -> Result<(Result<Vec<u8>, String>, ExitStatus)> {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(Error::io("execute", path))?;
    let talked = talk(&mut child, input, patience);
    if talked.is_err() {
        // With what it may have started.
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = child.wait().map_err(Error::io("wait for", path))?;
    Ok((talked, status))
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
        network: at.network.name.clone(),
        plugin: kind.to_owned(),
        problem,
        code: u32::try_from(code).unwrap_or(u32::MAX),
    }
}

/// The configuration as the plugin gets it: with the network's name and version, the runtime's
/// capability arguments that it can use, and the result of the plugin before.
fn input(at: &Attachment<'_>, previous: Option<&CniResult>) -> Vec<u8> {
    let mut conf = at.conf.clone();
    conf.insert("cniVersion".to_owned(), json!(at.network.cni_version));
    conf.insert("name".to_owned(), json!(at.network.name));
    conf.remove("cniVersions");
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
    if let (Some(previous), false) = (
        previous,
        matches!(at.network.cni_version.as_str(), "0.1.0" | "0.2.0"),
    ) {
        conf.insert(
            "prevResult".to_owned(),
            previous.to_json(&at.network.cni_version),
        );
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
