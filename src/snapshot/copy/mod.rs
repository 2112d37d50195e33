//! The `copy` strategy: works everywhere.
//!
//! Content is copied into the baseline, by the kernel where it can and hashed in the same pass;
//! changes are found by a stat walk before and after the command.

use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::baseline::{Baseline, Keep};
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};

/// The strategy's name.
pub const NAME: &str = "copy";

/// Copies content into the baseline.
pub struct Copy {
    baseline: Baseline,
}

impl Copy {
    /// The strategy on this baseline.
    pub fn new(baseline: Baseline) -> Self {
        Self { baseline }
    }
}

impl SnapshotStrategy for Copy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            resume: true,
            zero_copy: false,
        }
    }

    fn probe(&self, _: &AbsPath) -> std::result::Result<String, String> {
        Ok("works on every filesystem".into())
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.baseline.begin(request, Keep::Copy)?))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.baseline.resume(token)?))
    }
}
