//! sys
pub(crate) mod durable;
