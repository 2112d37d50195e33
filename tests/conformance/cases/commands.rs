//! Single commands on the fixture.

use super::{Case, Check};
use crate::common::Keeps;

macro_rules! commands {
    ($($name:ident $(if $($need:ident),+)?: $line:expr;)*) => {
        /// Every command.
        pub(crate) const COMMANDS: &[Case] = &[$(Case {
            name: stringify!($name),
            fits: |_keeps: &Keeps| true $($(&& _keeps.$need)+)?,
            check: Check::Undone($line),
        }),*];
    };
}

/// A program that writes through a shared map of memory.
const MAPPED_WRITE: &str = "python3 -c \"
import mmap
with open('docs/binary', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[1000:1007] = b'changed'; m.flush(); m.close()
\"";

/// Exchanges two files, and a file with a directory.
const EXCHANGE: &str = "python3 -c \"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for a, b in ((b'src/file1.txt', b'docs/binary'), (b'src/file9.txt', b'src/deep')):
    if libc.renameat2(-100, a, -100, b, 2): raise OSError(ctypes.get_errno(), a)
\"";

commands! {
    creating: "echo new > new; mkdir -p a/b/c; echo x > a/b/c/d; touch src/deep/empty";
    modifying: "echo changed > src/file1.txt; sed -i s/value/VALUE/ src/file1?.txt";
    modifying_with_the_same_size: "printf 'LINE ONE\\nvalue = 1\\n' > src/file1.txt";
    modifying_and_setting_the_time_back: "touch -r src/file1.txt ../stamp; printf 'LINE ONE\\nvalue = 1\\n' > src/file1.txt; touch -r ../stamp src/file1.txt; rm ../stamp";
    appending: "echo more >> src/file1.txt; echo more >> docs/empty-file";
    truncating: "truncate -s 10 docs/binary; : > src/file2.txt; truncate -s 20M sparse";
    deleting_files: "rm src/file1.txt docs/binary sparse './-rf' n*";
    deleting_a_subtree: "rm -rf src";
    deleting_everything: "rm -rf ./* .[!.]* ; ls -A";
    renaming: "mv src/file1.txt src/renamed; mv src/file2.txt docs/; mv src/file3.txt src/file4.txt";
    renaming_a_directory: "mv src moved; mv docs moved/src2";
    renaming_a_directory_and_changing_within: "mv src moved; echo x >> moved/file1.txt; rm moved/deep/deeper/leaf; mkdir src; echo y > src/file1.txt";
    swapping_three_ways: "mv src/file1.txt t; mv src/file9.txt src/file1.txt; mv t src/file9.txt; mv src/deep t; mv empty src/deep; mv t empty";
    exchanging if exchange: EXCHANGE;
    changing_case_only: "mv src/file1.txt src/FILE1.TXT; mv docs Docs; echo x >> Docs/binary";
    names_that_differ_in_case_only if case: "echo x > SRC; echo y > src/FILE1.txt; rm src/file1.txt; mkdir DOCS";
    replacing_a_directory_by_a_file: "rm -r src; echo x > src";
    replacing_a_file_by_a_directory: "rm src/file1.txt; mkdir -p src/file1.txt/a/b; echo x > src/file1.txt/a/b/c";
    replacing_there_and_back: "mv src/deep t; echo x > src/deep; rm src/deep; mv t src/deep; touch src/deep/deeper/leaf";
    replacing_by_links if symlinks: "mv docs docs2; ln -s docs2 docs; ln -sf file2.txt src/file1.txt; rm dangling; mkdir dangling; ln -sfn empty src/dirlink";
    changing_modes if modes: "chmod -R u+x,go-r src docs; chmod 0 docs/binary; chmod 6755 src/file1.txt; chmod 700 sticky";
    changing_owners if owners: "chown -R 4321:8765 src docs; chown -h 1:1 sticky";
    owners_of_links if owners, symlinks: "chown -h 4321:8765 link src/dirlink";
    attributes if attributes: "setfattr -x user.note src/file6.txt; setfattr -n user.new -v 1 src/file9.txt docs; setfattr -n user.dir -v changed docs";
    large_attributes if attributes: "setfattr -n user.large -v $(printf 'v%.0s' {1..1000}) src/file6.txt src/deep";
    access_control_lists if acls: "setfacl -b src/file7.txt; setfacl -m u:4321:r src/file9.txt; setfacl -k docs; setfacl -m g:99:rwx docs";
    capabilities if capabilities: "setcap cap_net_raw+ep src/file1.txt; setcap cap_chown+ep src/file9.txt; echo x >> src/file9.txt; setcap cap_kill+i src/file9.txt";
    flags if flags: "chattr +i src/file1.txt; chattr +a docs/binary; chattr +d src/deep";
    times: "touch -d 2001-01-01 src docs/binary empty; touch -d '2030-02-03 04:05:06.789' src/file1.txt";
    times_of_links if symlinks: "touch -h -d 2002-02-02 link src/dirlink";
    adding_a_hard_link if hard_links: "ln src/file1.txt docs/another; ln docs/hard src/more";
    removing_a_hard_link if hard_links: "rm hard2; echo x > src/file1.txt";
    breaking_a_hard_link if hard_links: "cp hard2 t; mv t hard2; echo x >> docs/hard";
    writing_through_a_hard_link if hard_links: "echo more >> hard2";
    replacing_by_hard_links if hard_links: "ln -f src/file1.txt src/file11.txt; ln -f docs/hard src/file9.txt";
    writing_into_a_hole: "printf middle | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null";
    punching_holes: "fallocate -p -o 0 -l 131072 docs/binary || dd if=/dev/zero of=docs/binary bs=64k count=2 conv=notrunc 2>/dev/null";
    writing_through_a_map: MAPPED_WRITE;
    writing_in_place: "printf changed | dd of=docs/binary bs=1 seek=1000 conv=notrunc 2>/dev/null";
    fifos_and_sockets if fifos: "rm pipe; mkfifo src/p2; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'";
    devices if devices: "rm dev; mknod dev b 7 200; mknod src/null c 1 3";
    awkward_names: "touch 'a b' $'c\\nd' '*' '-x' \"$(printf 'q%.0s' {1..255})\"; rm './-rf'; echo x >> $'new\\nline'";
    awkward_bytes if bytes: "touch $'\\xff\\xfe x'; mv $'bytes-\\xff\\xfe' $'\\x80'";
    deep_directories: "mkdir -p \"$(printf 'd/%.0s' {1..300})\"; echo x > \"$(printf 'd/%.0s' {1..300})leaf\"";
    unpacking: "tar cf a.tar src docs; mkdir out; tar xf a.tar -C out; tar xf a.tar --touch; rm a.tar";
    mirroring: "mkdir t; cp -a src t/; rm t/src/file1*; echo x > t/src/new; echo y >> t/src/file2.txt; rsync -a --delete t/src/ src/; rm -rf t";
    editing_in_place: "sed -i s/value/VALUE/ src/file[1-4]*.txt; perl -pi -e s/one/ONE/ src/file9.txt src/file11.txt";
    version_control: "git init -q . && git add src docs && git -c user.email=a@b -c user.name=c commit -qm one && rm -rf src/deep && sed -i s/1/2/ src/file1*.txt && git add -A src && git -c user.email=a@b -c user.name=c commit -qm two && git checkout -q HEAD~1";
    only_reading_and_creating_temporarily: "cp -a src t; rm -rf t; cat docs/binary > /dev/null; touch empty/x";
}
