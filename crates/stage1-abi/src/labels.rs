//! The SELinux contexts of a pod (page "rkt and SELinux").

use std::str::FromStr;

/// What a pod's processes and files are labelled with, each `user:role:type`, with `:level` where the
/// policy has levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Of the apps' processes.
    pub process: String,
    /// Of the files that are mounted for them.
    pub file: String,
}

impl Labels {
    /// The context of files for processes at a level or range: they are at its lower end.
    pub fn file_at(&self, level: &str) -> String {
        let low = level.split('-').next().unwrap_or(level);
        let kind = self.file.splitn(4, ':').take(3).collect::<Vec<_>>();
        format!("{}:{low}", kind.join(":"))
    }
}

impl FromStr for Labels {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.lines().collect::<Vec<_>>().as_slice() {
            [process, file] if !process.is_empty() && !file.is_empty() => Ok(Self {
                process: (*process).to_owned(),
                file: (*file).to_owned(),
            }),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n", self.process, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn labels_are_two_lines() {
        let labels = Labels {
            process: "u:r:p:s0:c1,c2".into(),
            file: "u:object_r:f:s0:c1,c2".into(),
        };
        assert_eq!(labels.to_string().parse(), Ok(labels));
        let labels: Labels = "u:r:p:s0:c1\nu:o:f:s0:c1,c2\n".parse().unwrap();
        assert_eq!(labels.file_at("s0-s0:c0.c1023"), "u:o:f:s0");
        assert_eq!(labels.file_at("s1:c3"), "u:o:f:s1:c3");
        for text in ["", "a\n", "\nb\n", "a\nb\nc\n"] {
            assert_eq!(text.parse::<Labels>(), Err(()), "{text:?}");
        }
    }
}
