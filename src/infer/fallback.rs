//! The conservative fallback.
use super::{Context, PathInference, Scope};
/// Covers the working directory and everything the line could name.
#[derive(Debug, Clone, Copy)]
pub struct ConservativeFallback;
impl PathInference for ConservativeFallback {
    fn name(&self) -> &str {
        "fallback"
    }
    fn shells(&self) -> &[&str] {
        &[]
    }
    fn infer(&self, _context: &Context<'_>) -> Scope {
        todo!()
    }
}
