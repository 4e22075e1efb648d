//! Pods by the UUID, or the beginning of one, that a person types.

use crate::error::Error;
use crate::pod::Pod;
use crate::pods::{Pods, is_uuid};
use crate::state::Phase;

/// How many candidates an error names.
const SHOWN: usize = 5;

impl Pods {
    /// The pod that `prefix` names: a whole UUID or an unambiguous beginning, in any case, looked
    /// up among the pods in prepare, prepared, run and exited-garbage.
    ///
    /// # Errors
    /// Not a UUID, unknown, ambiguous, or the directory cannot be read.
    pub fn find(&self, prefix: &str) -> Result<Pod, Error> {
        // A pod that is removed and one that moves look alike for a moment: look twice.
        for _ in 0..2 {
            let uuid = self.resolve(prefix)?;
            if let Some(pod) = self.open_anywhere(&uuid)? {
                return Ok(pod);
            }
        }
        Err(Error::NotFound(prefix.to_owned()))
    }

    /// The whole UUID of the one pod that `prefix` names.
    fn resolve(&self, prefix: &str) -> Result<String, Error> {
        let wanted = prefix.trim().to_ascii_lowercase();
        let plausible = wanted.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if wanted.is_empty() || wanted.len() > 36 || !plausible {
            return Err(Error::InvalidUuid(prefix.to_owned()));
        }
        if is_uuid(&wanted) {
            return Ok(wanted);
        }
        let mut matches = Vec::new();
        for phase in Phase::NAMED {
            for name in self.names(phase)? {
                if name.len() >= wanted.len()
                    && name[..wanted.len()].eq_ignore_ascii_case(&wanted)
                    && !matches.contains(&name)
                {
                    matches.push(name);
                }
            }
        }
        match matches.len() {
            0 => Err(Error::NotFound(prefix.to_owned())),
            1 => Ok(matches.swap_remove(0)),
            _ => {
                matches.sort_unstable();
                matches.truncate(SHOWN);
                Err(Error::Ambiguous {
                    prefix: prefix.to_owned(),
                    matches,
                })
            }
        }
    }

    /// Looks in every phase a person may name, in the order a pod passes them.
    fn open_anywhere(&self, uuid: &str) -> Result<Option<Pod>, Error> {
        for phase in Phase::NAMED {
            if let Some(pod) = self.open_in(phase, uuid)? {
                return Ok(Some(pod));
            }
        }
        Ok(None)
    }
}
