//! Per-app isolator flags.

use appc::{AcIdentifier, Isolator, Isolators, Quantity};
use serde_json::{Value, json};

use crate::failure::{Doing, Failure};

/// The least memory limit: a page.
const MIN_MEMORY: i64 = 4096;

/// The isolator flags of one app, as given.
#[derive(Debug, Default, Clone)]
pub(crate) struct IsolatorFlags {
    pub(crate) memory: Option<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) cpu_shares: Option<String>,
    pub(crate) caps_retain: Option<String>,
    pub(crate) caps_remove: Option<String>,
    pub(crate) seccomp: Option<String>,
    pub(crate) oom_score_adj: Option<String>,
}

impl IsolatorFlags {
    /// Puts the flags' isolators in place of the image's.
    pub(crate) fn apply(&self, to: &mut Isolators) -> Result<(), Failure> {
        if self.caps_retain.is_some() && self.caps_remove.is_some() {
            return Err(Failure::new(
                "--caps-retain and --caps-remove exclude each other",
            ));
        }
        if let Some(memory) = &self.memory {
            let limit = Quantity::parse(memory).doing("invalid value for --memory")?;
            if limit.value() < MIN_MEMORY {
                return Err(Failure::new(format!(
                    "memory limit of {memory:?} is too low, it must be at least {MIN_MEMORY} bytes"
                )));
            }
            set(to, "resource/memory", resource(memory))?;
        }
        if let Some(cpu) = &self.cpu {
            Quantity::parse(cpu).doing("invalid value for --cpu")?;
            set(to, "resource/cpu", resource(cpu))?;
        }
        if let Some(shares) = &self.cpu_shares {
            set(to, "os/linux/cpu-shares", number("cpu-shares", shares)?)?;
        }
        if let Some(score) = &self.oom_score_adj {
            set(
                to,
                "os/linux/oom-score-adj",
                number("oom-score-adj", score)?,
            )?;
        }
        if let Some(caps) = &self.caps_retain {
            set(to, "os/linux/capabilities-retain-set", capabilities(caps))?;
        }
        if let Some(caps) = &self.caps_remove {
            set(to, "os/linux/capabilities-remove-set", capabilities(caps))?;
        }
        if let Some(filter) = &self.seccomp {
            let (name, value) = seccomp(filter)?;
            set(to, name, value)?;
        }
        Ok(())
    }
}

fn set(to: &mut Isolators, name: &str, value: Value) -> Result<(), Failure> {
    let problem = || format!("invalid isolator {name:?}");
    let isolator = Isolator {
        name: AcIdentifier::parse(name).doing_with(problem)?,
        value,
        extra: appc::Extra::new(),
    };
    isolator.decode().doing_with(problem)?;
    to.set(isolator);
    Ok(())
}

fn resource(limit: &str) -> Value {
    json!({ "default": false, "request": limit, "limit": limit })
}

fn number(flag: &str, text: &str) -> Result<Value, Failure> {
    let number: i64 = text
        .parse()
        .doing_with(|| format!("invalid value {text:?} for --{flag}"))?;
    Ok(json!(number))
}

fn capabilities(list: &str) -> Value {
    let names: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|c| !c.is_empty())
        .collect();
    json!({ "set": names })
}

/// `mode=retain|remove[,errno=E],name…`
fn seccomp(text: &str) -> Result<(&'static str, Value), Failure> {
    let (mut mode, mut errno, mut names) = (None, None, Vec::new());
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match word.split_once('=') {
            Some(("mode", value)) => mode = Some(value),
            Some(("errno", value)) => errno = Some(value),
            Some((key, _)) => {
                return Err(Failure::new(format!(
                    "--seccomp: unknown parameter {key:?}"
                )));
            }
            None => names.push(word),
        }
    }
    let name = match mode {
        Some("retain") => "os/linux/seccomp-retain-set",
        Some("remove") => "os/linux/seccomp-remove-set",
        Some(other) => {
            return Err(Failure::new(format!(
                "--seccomp: mode must be retain or remove, not {other:?}"
            )));
        }
        None => {
            return Err(Failure::new(
                "--seccomp: mode=retain or mode=remove is missing",
            ));
        }
    };
    let mut value = json!({ "set": names });
    if let Some(errno) = errno {
        value["errno"] = json!(errno);
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(flags: IsolatorFlags) -> Result<Isolators, Failure> {
        let mut isolators = Isolators::default();
        flags.apply(&mut isolators).map(|()| isolators)
    }

    #[test]
    fn limits_are_checked() {
        let memory = |m: &str| {
            applied(IsolatorFlags {
                memory: Some(m.into()),
                ..IsolatorFlags::default()
            })
        };
        assert!(memory("128M").unwrap().get("resource/memory").is_some());
        assert!(memory("4095").unwrap_err().to_string().contains("too low"));
        assert!(memory("lots").is_err());
    }

    #[test]
    fn seccomp_needs_a_mode() {
        let (name, value) = seccomp("mode=retain,errno=EPERM,chmod,chown").unwrap();
        assert_eq!(name, "os/linux/seccomp-retain-set");
        assert_eq!(value, json!({"set": ["chmod", "chown"], "errno": "EPERM"}));
        assert!(seccomp("chmod").is_err());
        assert!(seccomp("mode=allow,chmod").is_err());
        assert!(seccomp("mode=retain,x=y").is_err());
    }
}
