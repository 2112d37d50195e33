"""One random program, by number: does things to the tree that it is started in, in many ways.

Errors are part of it: what a call cannot do is left.
"""

import ctypes, mmap, os, random, shutil, socket, stat, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
seed, steps = int(sys.argv[1]), int(sys.argv[2])
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_FDCWD = 0x1000, 0x400, -100
CLONE_NEWNS, CLONE_FS = 0x20000, 0x200


def renameat2(one, other, flags, dirs=(AT_FDCWD, AT_FDCWD)):
    if libc.renameat2(dirs[0], os.fsencode(one), dirs[1], os.fsencode(other), flags):
        raise OSError(ctypes.get_errno(), one)


class Actor:
    def __init__(self, numbers, root):
        self.numbers, self.root, self.open = numbers, root, []

    def below(self, bound):
        return self.numbers.randrange(bound)

    def pick(self, things):
        return things[self.below(len(things))]

    def entries(self):
        directories, others = [self.root], []
        for at, names, files in os.walk(self.root):
            names.sort()
            directories += [os.path.join(at, n) for n in names if not os.path.islink(os.path.join(at, n))]
            others += [os.path.join(at, n) for n in sorted(files) + [n for n in names if os.path.islink(os.path.join(at, n))]]
        return directories, others

    def directory(self):
        return self.pick(self.entries()[0])

    def entry(self):
        directories, others = self.entries()
        return self.pick(others + directories[1:]) if others or len(directories) > 1 else self.root + "/none"

    def file(self):
        others = self.entries()[1]
        return self.pick(others) if others else self.root + "/none"

    def fresh(self):
        return os.path.join(self.directory(), self.pick(["n%d", "m %d", "x\n%d", "\udcff%d"]) % self.below(30))

    def named(self, path):
        """The same entry, named in one of many ways: (path, directory descriptor)."""
        way = self.below(6)
        if way == 0:
            return path, None
        if way == 1:
            return os.path.relpath(path), None
        parent, name = os.path.split(path)
        if way == 2:
            return os.path.join(parent, ".", "..", os.path.basename(parent), "", name), None
        try:
            fd = os.open(parent, os.O_PATH if way == 3 else os.O_RDONLY)
        except OSError:
            return path, None
        self.open.append(fd)
        if way == 4:
            return "/proc/self/fd/%d/%s" % (fd, name), None
        return name, fd

    def content(self):
        return self.pick([b"", b"seven77", b"y" * 300, b"z" * 5000, b"w" * 70000])

    def opened(self, path, flags, mode=0o644):
        path, fd = self.named(path)
        # A pipe without a reader would hold it up for ever.
        return os.open(path, flags | os.O_NONBLOCK, mode, dir_fd=fd)

    def write(self, path, flags, content):
        fd = self.opened(path, flags)
        try:
            os.write(fd, content)
        finally:
            if self.below(4):
                os.close(fd)
            else:
                self.open.append(fd)

    def step(self):
        deeds = [d for d in dir(self) if d.startswith("do_")]
        deed = self.pick(deeds)
        try:
            getattr(self, deed)()
        except (OSError, ValueError):
            pass

    # Content
    def do_create(self):
        self.write(self.fresh(), os.O_CREAT | os.O_WRONLY | self.pick([0, os.O_EXCL, os.O_TRUNC]), self.content())

    def do_overwrite(self):
        self.write(self.file(), os.O_WRONLY | os.O_TRUNC, self.content())

    def do_write_within(self):
        fd = self.opened(self.file(), self.pick([os.O_WRONLY, os.O_RDWR]))
        os.pwrite(fd, b"within", self.below(400))
        os.close(fd)

    def do_append(self):
        self.write(self.file(), os.O_WRONLY | os.O_APPEND, self.content())

    def do_append_and_then_not(self):
        import fcntl
        fd = self.opened(self.file(), os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"more")
        if self.below(2):
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)
            os.pwrite(fd, b"early", 0)
        else:
            os.ftruncate(fd, self.below(10))
        os.close(fd)

    def do_append_and_remove(self):
        path = self.file()
        self.write(path, os.O_WRONLY | os.O_APPEND, b"tail")
        os.unlink(path)

    def do_truncate(self):
        path, fd = self.named(self.file())
        if fd is None:
            os.truncate(path, self.pick([0, 3, 10000]))

    def do_ftruncate(self):
        fd = self.opened(self.file(), os.O_RDWR)
        os.ftruncate(fd, self.pick([0, 5, 1 << 20]))
        os.close(fd)

    def do_map(self):
        fd = self.opened(self.file(), os.O_RDWR)
        try:
            with mmap.mmap(fd, 0) as m:
                m[0:1] = b"M"
        finally:
            os.close(fd)

    def do_sparse(self):
        fd = self.opened(self.pick([self.file(), self.fresh()]), os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"far", 1 << 21)
        os.close(fd)

    def do_punch(self):
        fd = self.opened(self.file(), os.O_RDWR)
        libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096))
        os.close(fd)

    def do_copy_range(self):
        a = self.opened(self.file(), os.O_RDONLY)
        b = self.opened(self.file(), os.O_WRONLY)
        os.copy_file_range(a, b, 1000)
        os.close(a), os.close(b)

    def do_read(self):
        fd = self.opened(self.file(), os.O_RDONLY)
        os.read(fd, 100)
        os.close(fd)

    # Names
    def do_mkdir(self):
        path, fd = self.named(self.fresh())
        os.mkdir(path, dir_fd=fd)

    def do_symlink(self):
        path, fd = self.named(self.fresh())
        os.symlink(self.pick(["n1", "../n2", self.file(), "nowhere", "."]), path, dir_fd=fd)

    def do_write_through_link(self):
        link = self.fresh()
        os.symlink(self.pick([os.path.basename(self.file()), "made-through", self.file()]), link)
        self.write(link, os.O_WRONLY | os.O_CREAT, b"through a link")

    def do_fifo(self):
        os.mkfifo(self.fresh())

    def do_socket(self):
        path = self.fresh()
        if len(os.fsencode(path)) < 100:
            s = socket.socket(socket.AF_UNIX)
            s.bind(os.fsencode(path))
            s.close()

    def do_unlink(self):
        path, fd = self.named(self.file())
        os.unlink(path, dir_fd=fd)

    def do_remove_tree(self):
        path = self.directory()
        if path != self.root:
            shutil.rmtree(path, ignore_errors=True)

    def do_rmdir(self):
        path, fd = self.named(self.directory())
        os.rmdir(path, dir_fd=fd)

    def do_rename(self):
        (a, afd), (b, bfd) = self.named(self.entry()), self.named(self.pick([self.fresh(), self.entry()]))
        os.rename(a, b, src_dir_fd=afd, dst_dir_fd=bfd)

    do_rename_again = do_rename

    def do_rename_directory(self):
        path = self.directory()
        if path != self.root:
            os.rename(path, self.fresh())

    def do_replace(self):
        path, new = self.file(), self.fresh()
        self.write(new, os.O_CREAT | os.O_WRONLY | os.O_EXCL, b"saved by an editor")
        os.replace(new, path)

    def do_exchange(self):
        a, b = self.entry(), self.entry()
        renameat2(a, b, RENAME_EXCHANGE)

    def do_no_replace(self):
        renameat2(self.entry(), self.pick([self.fresh(), self.entry()]), RENAME_NOREPLACE)

    def do_there_and_back(self):
        path, other = self.entry(), self.fresh()
        os.rename(path, other)
        if self.below(2):
            self.step()
        os.rename(other, path)

    def do_link(self):
        (a, afd), (b, bfd) = self.named(self.file()), self.named(self.fresh())
        os.link(a, b, src_dir_fd=afd, dst_dir_fd=bfd, follow_symlinks=False)

    def do_link_and_write(self):
        path = self.fresh()
        os.link(self.file(), path, follow_symlinks=False)
        self.write(path, os.O_WRONLY, b"by another name")

    def do_without_name(self):
        fd = os.open(self.directory(), os.O_TMPFILE | os.O_RDWR, 0o600)
        os.write(fd, b"had no name")
        way = self.below(2)
        if way:
            libc.linkat(fd, b"", AT_FDCWD, os.fsencode(self.fresh()), AT_EMPTY_PATH)
        else:
            libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(self.fresh()), AT_SYMLINK_FOLLOW)
        os.close(fd)

    # Metadata
    def do_chmod(self):
        os.chmod(self.entry(), self.pick([0o600, 0o755, 0o4711, 0o700]))

    def do_fchmod(self):
        fd = self.opened(self.entry(), os.O_RDONLY | os.O_NONBLOCK)
        os.fchmod(fd, self.pick([0o640, 0o711]))
        os.close(fd)

    def do_chown(self):
        path, fd = self.named(self.entry())
        os.chown(path, self.pick([0, 4321]), 99, dir_fd=fd, follow_symlinks=False)

    def do_times(self):
        path, fd = self.named(self.entry())
        os.utime(path, ns=(self.below(1000), 10**9 + self.below(1000)), dir_fd=fd, follow_symlinks=False)

    def do_ftimes(self):
        fd = self.opened(self.file(), os.O_RDONLY | os.O_NONBLOCK)
        os.utime(fd, ns=(5, 6))
        os.close(fd)

    def do_attribute(self):
        os.setxattr(self.entry(), "user.note", b"v" * self.below(9), follow_symlinks=False)

    def do_remove_attribute(self):
        os.removexattr(self.entry(), "user.note", follow_symlinks=False)

    # Where a process is
    def do_change_directory(self):
        os.chdir(self.directory())

    def do_deleted_directory(self):
        path = self.fresh()
        os.mkdir(path)
        here = os.open(".", os.O_RDONLY)
        os.chdir(path)
        os.rmdir(path)
        try:
            open("x", "w")
        except OSError:
            pass
        os.fchdir(here)
        os.close(here)

    def child(self, act):
        pid = os.fork()
        if pid == 0:
            try:
                act()
            except (OSError, ValueError):
                pass
            os._exit(0)
        os.waitpid(pid, 0)

    def do_fork(self):
        def act():
            for _ in range(3):
                self.step()
        self.child(act)

    def do_chroot(self):
        directory = self.directory()
        def act():
            if self.below(2):
                os.chdir(directory)
            os.chroot(directory)
            if self.below(2):
                os.chdir("/")
            below = Actor(self.numbers, "/")
            for _ in range(3):
                below.step()
        self.child(act)

    def do_namespace(self):
        def act():
            libc.unshare(CLONE_NEWNS | CLONE_FS)
            for _ in range(3):
                self.step()
        self.child(act)

    def do_threads(self):
        # Each in a directory of its own, so that what they do is the same in any order.
        tops = [os.path.join(self.root, n) for n in sorted(os.listdir(self.root))]
        tops = [t for t in tops if os.path.isdir(t) and not os.path.islink(t)][:3]
        here = os.open(".", os.O_RDONLY)
        os.chdir("/")
        threads = []
        for top in tops:
            one = Actor(random.Random(self.below(1 << 30)), top)
            plain = ["do_create", "do_overwrite", "do_write_within", "do_append", "do_truncate", "do_mkdir", "do_unlink", "do_replace", "do_link", "do_chmod", "do_times"]
            def work(one=one, plain=plain):
                for _ in range(4):
                    try:
                        getattr(one, one.pick(plain))()
                    except (OSError, ValueError):
                        pass
                for fd in one.open:
                    os.close(fd)
            threads.append(threading.Thread(target=work))
        [t.start() for t in threads], [t.join() for t in threads]
        os.fchdir(here)
        os.close(here)

    def do_write_after_all(self):
        for fd in self.open[:]:
            try:
                os.write(fd, b"late")
            except OSError:
                pass


numbers = random.Random(seed)
actor = Actor(numbers, os.getcwd())
for _ in range(steps):
    if len(actor.open) > 200:
        [os.close(fd) for fd in actor.open]
        actor.open = []
    actor.step()
