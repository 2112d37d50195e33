//! Reading arguments out of the memory of a process that waits for an answer.

use std::io;

/// Memory is readable or not in steps of this size.
const PAGE: u64 = 4096;

/// Reads the string at `address`, at most `most` bytes; an error where it is longer, or not there.
pub(crate) fn read_c_string(process: u32, address: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut string = Vec::with_capacity(256);
    let mut at = address;
    loop {
        // What follows the string's page need not be there. Most paths are short.
        let to_page = (PAGE - at % PAGE) as usize;
        let wanted = to_page.min(if string.is_empty() {
            256
        } else {
            PAGE as usize
        });
        let from = string.len();
        string.resize(from + wanted, 0);
        let read = read_into(process, at, &mut string[from..])?;
        string.truncate(from + read);
        if let Some(end) = string[from..].iter().position(|byte| *byte == 0) {
            string.truncate(from + end);
            return Ok(string);
        }
        if read == 0 || string.len() > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        at += read as u64;
    }
}

/// Reads exactly `N` bytes at `address`.
pub(crate) fn read_bytes<const N: usize>(process: u32, address: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    if read_into(process, address, &mut bytes)? == N {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn read_into(process: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: buffer.len(),
    };
    // SAFETY: the local part is valid for its length; the remote address is only looked at in the
    // other process, where a wrong one is an error.
    let read = unsafe {
        libc::process_vm_readv(
            process as libc::pid_t,
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(read as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_up_to_their_end_whatever_their_length() {
        let own = std::process::id();
        for length in [0_usize, 1, 255, 256, 4095, 9000] {
            let mut text = vec![b'x'; length];
            text.push(0);
            let found = read_c_string(own, text.as_ptr() as u64, 10_000).unwrap();
            assert_eq!(found, text[..length], "{length}");
        }
        let long = vec![b'x'; 20_000];
        assert!(read_c_string(own, long.as_ptr() as u64, 4096).is_err());
        assert!(read_c_string(own, 8, 4096).is_err());
    }
}
