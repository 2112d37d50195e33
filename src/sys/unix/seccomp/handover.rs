//! Sending descriptors through a socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for the header of one message that carries one descriptor, aligned as the system wants it.
#[repr(C, align(8))]
struct Ancillary([u8; 64]);

/// Sends `descriptor` with `word`, and waits until the other side has answered with a byte. Used by a
/// process between `fork` and `exec`: allocates nothing and takes no lock.
pub(crate) fn hand_over(
    socket: BorrowedFd<'_>,
    descriptor: BorrowedFd<'_>,
    word: u64,
) -> io::Result<()> {
    send_descriptor(socket, descriptor, word)?;
    let mut answer = [0_u8; 1];
    loop {
        // SAFETY: the buffer is valid for its length.
        let read = unsafe { libc::read(socket.as_raw_fd(), answer.as_mut_ptr().cast(), 1) };
        match read {
            1 => return Ok(()),
            0 => return Err(io::Error::from_raw_os_error(libc::EPIPE)),
            _ => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(libc::EINTR) {
                    return Err(error);
                }
            }
        }
    }
}

/// Sends `descriptor` with `word`. Allocates nothing.
pub(crate) fn send_descriptor(
    socket: BorrowedFd<'_>,
    descriptor: BorrowedFd<'_>,
    word: u64,
) -> io::Result<()> {
    let bytes = word.to_ne_bytes();
    let mut ancillary = Ancillary([0; 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let message = message(&mut part, &mut ancillary);
    let raw = descriptor.as_raw_fd();
    // SAFETY: the message's parts live until it is sent; the header lies within the ancillary
    // buffer, which has room for one descriptor.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(header).cast(), raw);
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Receives what [`send_descriptor`] sent; `None` when the other side is gone.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, u64)>> {
    let mut bytes = [0_u8; 8];
    let mut ancillary = Ancillary([0; 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut message = message(&mut part, &mut ancillary);
    // SAFETY: the message's buffers are valid for their lengths; what the kernel wrote into the
    // ancillary buffer is read only as far as it says.
    unsafe {
        let read = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        if read < 0 {
            return Err(io::Error::last_os_error());
        }
        if read == 0 {
            return Ok(None);
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let raw: i32 = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
        Ok(Some((OwnedFd::from_raw_fd(raw), u64::from_ne_bytes(bytes))))
    }
}

fn message(part: &mut libc::iovec, ancillary: &mut Ancillary) -> libc::msghdr {
    // SAFETY: all zeros is a message without name, parts and ancillary data.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.0.as_mut_ptr().cast();
    // SAFETY: the macro only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<i32>() as u32) } as _;
    message
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_word_and_is_acknowledged() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let answerer = std::thread::spawn(move || {
            let (descriptor, word) = receive_descriptor(other.as_fd()).unwrap().unwrap();
            (&other).write_all(b"k").unwrap();
            std::fs::File::from(descriptor)
                .write_all(b"through")
                .unwrap();
            word
        });
        hand_over(one.as_fd(), writer.as_fd(), 1 << 40).unwrap();
        drop(writer);
        assert_eq!(answerer.join().unwrap(), 1 << 40);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_side_that_went_away_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        drop(other);
        assert!(hand_over(one.as_fd(), writer.as_fd(), 1).is_err());
    }
}
