//! The targets.

mod config;
mod reply;
mod spec;
mod status;
mod text;

pub(crate) use config::target as config;
pub(crate) use reply::target as reply;
pub(crate) use spec::target as spec;
pub(crate) use status::target as status;
pub(crate) use text::target as text;
