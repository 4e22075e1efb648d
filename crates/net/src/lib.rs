//! Pod networks.
pub mod cidr;
pub mod error;
mod mac;
mod netlink;
mod nft;
mod rtnl;
