//! The error that ends a command: what was being done, and why it did not work.

use std::error::Error;
use std::fmt;

/// A failed operation and its cause.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    status: u8,
}

/// What a command returns: the exit status, or why it failed.
pub(crate) type Outcome = Result<std::process::ExitCode, Failure>;

/// Exit status of rkt's own failures.
const FAILED: u8 = 254;

impl Failure {
    /// A failure without a cause beneath it.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
            status: FAILED,
        }
    }

    /// Another exit status than 254, where the original had one.
    pub(crate) fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// One line for a person: the outermost message and the innermost cause. What the outer
    /// message says already is not said twice.
    pub(crate) fn brief(&self) -> String {
        let mut innermost: Option<&(dyn Error + 'static)> = self.source();
        while let Some(next) = innermost.and_then(Error::source) {
            innermost = Some(next);
        }
        let Some(innermost) = innermost else {
            return self.message.clone();
        };
        // A cause that is only the kernel's word needs the message around it, which names the file.
        let mut text = self.message.clone();
        for cause in causes(self) {
            let said = cause.to_string();
            let last = cause.source().is_none();
            let names_object = cause.source().is_some_and(|s| s.source().is_none());
            if (last || names_object) && !text.contains(&said) {
                text = format!("{text}: {said}");
            }
        }
        debug_assert!(text.contains(&innermost.to_string()));
        text
    }

    /// Every message of the chain, one a line, each cause below what it caused.
    pub(crate) fn tree(&self) -> String {
        let mut text = self.message.clone();
        for (depth, cause) in causes(self).enumerate() {
            text.push_str(&format!(
                "\n{:indent$}└─{cause}",
                "",
                indent = 2 * (depth + 1)
            ));
        }
        text
    }
}

fn causes(failure: &Failure) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(failure.source(), |e: &&(dyn Error + 'static)| {
        (**e).source()
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Says what was being done when an error happened.
pub(crate) trait Doing<T> {
    /// With a message that is there already.
    fn doing(self, message: &str) -> Result<T, Failure>;
    /// With a message that is put together only when needed.
    fn doing_with(self, message: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, message: &str) -> Result<T, Failure> {
        self.doing_with(|| message.to_owned())
    }

    fn doing_with(self, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            message: message(),
            source: Some(error.into()),
            status: FAILED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> Failure {
        let io: Result<(), _> = Err(std::io::Error::from_raw_os_error(2));
        let inner = io.doing("cannot open /x");
        let middle = inner.doing("cannot load the pod");
        middle.doing("cannot get pod").unwrap_err()
    }

    #[test]
    fn brief_names_the_operation_and_the_innermost_cause() {
        assert_eq!(
            nested().brief(),
            "cannot get pod: cannot open /x: No such file or directory (os error 2)"
        );
        assert_eq!(Failure::new("just this").brief(), "just this");
    }

    #[test]
    fn the_tree_has_one_cause_a_line() {
        assert_eq!(
            nested().tree(),
            "cannot get pod\n  └─cannot load the pod\n    └─cannot open /x\n      └─No such file or directory (os error 2)"
        );
    }
}
