//! The default stage1 image, which travels inside this binary.

/// The image, uncompressed, as `build.rs` packed it.
pub(super) const ACI: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stage1.aci"));

/// Its image ID.
pub(super) const ID: &str = env!("RKT_STAGE1_ID");

/// What it is called in messages.
pub(super) const SOURCE: &str = "the stage1 inside rkt";

#[cfg(test)]
mod tests {
    #[test]
    fn the_id_is_the_hash_of_the_bytes() {
        use sha2::Digest;
        let digest: [u8; 64] = sha2::Sha512::digest(super::ACI).into();
        assert_eq!(appc::Hash::from_sha512(&digest), super::ID);
    }
}
