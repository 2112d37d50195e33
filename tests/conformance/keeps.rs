//! What a filesystem keeps, measured with other programs than the one under test.

use std::path::Path;
use std::process::Command;

use crate::common::Keeps;

/// Tries everything in `dir` and takes it away again.
pub(crate) fn measure(dir: &Path) -> Keeps {
    let dir = tempfile::tempdir_in(dir).expect("a directory to try things in");
    let tries = |script: &str| {
        let done = Command::new("bash")
            .args(["-euc", script])
            .current_dir(&dir)
            .output()
            .expect("bash");
        done.status.success()
    };
    Keeps {
        modes: tries("touch m; chmod 4711 m; [ $(stat -c %a m) = 4711 ]"),
        owners: tries("touch o; chown 1234:5678 o; [ $(stat -c %u:%g o) = 1234:5678 ]"),
        symlinks: tries(
            "ln -s 'a b' s; touch -h -d 2001-01-01 s; [ \"$(readlink s)\" = 'a b' ] && [ $(stat -c %Y s) = $(date -d 2001-01-01 +%s) ]",
        ),
        hard_links: tries(
            "touch h; ln h h2; [ $(stat -c %h h) = 2 ] && [ $(stat -c %i h) = $(stat -c %i h2) ]",
        ),
        fifos: tries("mkfifo f; [ -p f ]"),
        devices: tries("mknod d c 1 3; [ $(stat -c %t:%T d) = 1:3 ]"),
        attributes: tries(
            "touch a; setfattr -n user.a -v one a; [ $(getfattr --only-values -n user.a a) = one ]",
        ),
        acls: tries(
            "touch l; setfacl -m u:12345:rw l; getfacl -cn l | grep -q user:12345:rw; mkdir ld; setfacl -d -m u:12345:rwx ld; touch ld/l; getfacl -cn ld/l | grep -q user:12345",
        ),
        capabilities: tries("touch c; setcap cap_net_raw+ep c; getcap c | grep -q cap_net_raw"),
        flags: tries("touch g; chattr +d g; lsattr g | cut -d' ' -f1 | grep -q d"),
        case: tries("touch case; [ ! -e CASE ]"),
        bytes: tries("touch $'\\xff\\xfe'; ls -b | grep -qF '\\377\\376'"),
        exchange: tries(
            "touch x1 x2; python3 -c \"import ctypes, sys; sys.exit(ctypes.CDLL(None).renameat2(-100, b'x1', -100, b'x2', 2))\"",
        ),
        nanoseconds: tries(
            "touch -d '2021-03-04 05:06:07.123456789' n; stat -c %y n | grep -q 123456789",
        ),
    }
}
