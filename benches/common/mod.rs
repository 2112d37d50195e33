//! What the benchmarks that run programs share.

pub(crate) mod figures;
pub(crate) mod judge;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod site;
