//! What passes between this program and a plugin host process: frames of a number, a kind and
//! bytes.
//!
//! A frame is `id` (`u64`), `kind` (`u16`), the length of the body (`u32`), all little-endian, and
//! the body. An answer has the id of its question. Both ends are the same program, so there is
//! no version; what comes from the host process is checked all the same, because the plugin
//! may write there too.

use std::io::{self, Read, Write};

use deployx_plugin_abi::wire;

/// The bytes before a body.
const HEADER: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// From the host, first: the plugin is loaded; the body says what it is.
    Hello,
    /// From the host, first: the plugin is not loaded; the body says why.
    Refused,
    /// To the host: an encoded request.
    Infer,
    /// To the host: a table of commands.
    AddRules,
    /// From the host: an encoded inference, or nothing to a table that was taken.
    Answer,
    /// From the host: the plugin would not answer; the body says why.
    Declined,
    /// From the host: the plugin failed; the body says how.
    Failed,
    /// From the host: the answer's buffer is not acceptable; the body says how.
    BadAnswer,
    /// From the host: an encoded rule error.
    RuleError,
}

impl FrameKind {
    const ALL: [Self; 9] = [
        Self::Hello,
        Self::Refused,
        Self::Infer,
        Self::AddRules,
        Self::Answer,
        Self::Declined,
        Self::Failed,
        Self::BadAnswer,
        Self::RuleError,
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) kind: FrameKind,
    pub(super) body: Vec<u8>,
}

impl Frame {
    /// Writes the frame at once.
    ///
    /// # Errors
    /// The other side is gone, or the body is too long.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        if self.body.len() > wire::MAX_BYTES {
            return Err(invalid(format!("{} bytes are too many", self.body.len())));
        }
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&(self.kind as u16).to_le_bytes());
        bytes.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.body);
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Reads a frame. Memory is taken as bytes arrive.
    ///
    /// # Errors
    /// `UnexpectedEof` where the other side is gone, `InvalidData` where it is no frame.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut id = [0; 8];
        let mut kind = [0; 2];
        let mut length = [0; 4];
        from.read_exact(&mut id)?;
        from.read_exact(&mut kind)?;
        from.read_exact(&mut length)?;
        let number = u16::from_le_bytes(kind);
        let length = u32::from_le_bytes(length) as usize;
        let kind = FrameKind::from_number(number)
            .ok_or_else(|| invalid(format!("there is no frame of kind {number}")))?;
        if length > wire::MAX_BYTES {
            return Err(invalid(format!("a frame of {length} bytes is too long")));
        }
        let mut body = Vec::new();
        from.take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self {
            id: u64::from_le_bytes(id),
            kind,
            body,
        })
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back(id: u64, kind in 0..9_usize, body: Vec<u8>) {
            let frame = Frame { id, kind: FrameKind::ALL[kind], body };
            let mut bytes = Vec::new();
            frame.write(&mut bytes).unwrap();
            prop_assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), frame);
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Frame::read(&mut bytes.as_slice());
        }
    }

    #[test]
    fn kinds_have_their_place_as_number() {
        for kind in FrameKind::ALL {
            assert_eq!(FrameKind::from_number(kind as u16), Some(kind));
        }
    }

    #[test]
    fn a_long_or_unknown_frame_is_refused() {
        let mut long = vec![0; 10];
        long.extend_from_slice(&u32::MAX.to_le_bytes());
        let error = Frame::read(&mut long.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let unknown = [0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0];
        let error = Frame::read(&mut unknown.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
