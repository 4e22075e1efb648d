//! x
pub(crate) fn run(_: &[&str]) -> crate::Result<()> {
    Ok(())
}
