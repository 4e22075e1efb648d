//! Environment variables of apps and their precedence (page "rkt run", "Influencing Environment
//! Variables").

use appc::{Environment, EnvironmentVariable};

use crate::failure::{Doing, Failure};

/// Variables for every app of the pod.
#[derive(Debug, Default)]
pub(crate) struct PodEnv {
    /// `--inherit-env`.
    pub(crate) inherit: bool,
    /// `--set-env-file` first, then `--set-env`.
    pub(crate) explicit: Environment,
}

impl PodEnv {
    /// Merges an app's image environment with the pod's and the app's own, the last winning:
    /// parent, image, file, `--set-env`, `--environment`.
    pub(crate) fn merge(&self, image: &mut Environment, own: &[EnvironmentVariable]) {
        for variable in self.explicit.iter().chain(own) {
            image.set(&variable.name, variable.value.clone());
        }
        if !self.inherit {
            return;
        }
        // Variables that are no UTF-8 cannot stand in a manifest.
        for (name, value) in std::env::vars_os() {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
                && image.get(name).is_none()
                && !name.is_empty()
            {
                image.set(name, value);
            }
        }
    }
}

/// Reads `NAME=VALUE` lines; empty ones and those that begin with `#` or `;` are skipped.
pub(crate) fn read_env_file(file: &str) -> Result<Vec<EnvironmentVariable>, Failure> {
    let problem = || format!("cannot read environment variables from {file:?}");
    let text = std::fs::read_to_string(file).doing_with(problem)?;
    parse_env_file(&text).doing_with(problem)
}

fn parse_env_file(text: &str) -> Result<Vec<EnvironmentVariable>, Failure> {
    let mut variables: Vec<EnvironmentVariable> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let variable = EnvironmentVariable::parse(line)
            .doing_with(|| format!("invalid line {}", number + 1))?;
        if variables.iter().any(|v| v.name == variable.name) {
            return Err(Failure::new(format!(
                "environment variable {:?} is set more than once",
                variable.name
            )));
        }
        variables.push(variable);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Vec<EnvironmentVariable> {
        list.iter()
            .map(|(n, v)| EnvironmentVariable::new(*n, *v))
            .collect()
    }

    #[test]
    fn the_last_word_wins() {
        let pod = PodEnv {
            inherit: false,
            explicit: Environment(variables(&[("A", "pod"), ("B", "pod")])),
        };
        let mut env = Environment(variables(&[("A", "image"), ("C", "image")]));
        pod.merge(&mut env, &variables(&[("B", "app")]));
        assert_eq!(env.get("A"), Some("pod"));
        assert_eq!(env.get("B"), Some("app"));
        assert_eq!(env.get("C"), Some("image"));
    }

    #[test]
    fn inherited_variables_are_the_weakest() {
        let pod = PodEnv {
            inherit: true,
            ..PodEnv::default()
        };
        let mut env = Environment(variables(&[("PATH", "/image")]));
        pod.merge(&mut env, &[]);
        assert_eq!(env.get("PATH"), Some("/image"));
    }

    #[test]
    fn files_have_comments_and_no_repetitions() {
        let read = parse_env_file("# c\n; c\n\nA=1\n  B=x=y\n").unwrap();
        assert_eq!(read, variables(&[("A", "1"), ("B", "x=y")]));
        assert!(parse_env_file("A=1\nA=2").is_err());
        assert!(parse_env_file("novalue").is_err());
    }
}
