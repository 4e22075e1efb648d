//! `rkt rm`.

use pod::Pods;

use super::{Entry, uuids};
use crate::cli::flags::words;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "rm",
    about: "Remove all files and resources associated with an exited pod",
    usage: "rm --uuid-file=FILE | UUID ...",
    long: "Unlike gc, rm allows users to remove specific pods.",
    arguments: |command| command.args([uuids::file_flag(), words("uuid")]),
    run: |context, matches| {
        let pods = context.pods()?;
        super::each(uuids::given(matches)?, |uuid| remove(context, &pods, uuid))
    },
    needs_root: true,
    ..Entry::BASE
};

fn remove(context: &Context, pods: &Pods, uuid: &str) -> Result<(), Failure> {
    let pod = context.pod(pods, uuid)?;
    let uuid = pod.uuid().to_owned();
    let problem = || format!("cannot remove pod {uuid:?}");
    let locked = pods.retire(pod).doing_with(problem)?;
    super::gc::release(context, locked.pod());
    pods.remove(locked).doing_with(problem)?;
    output::line(&format!("{uuid:?}"));
    Ok(())
}
