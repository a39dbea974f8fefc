"""
A file system that folds case and normal forms, as macOS and Windows have them: a directory shown through FUSE.

Run as a program in a mount namespace of its own: the directory that holds the files, and where to show them. It speaks
the kernel's protocol itself, so that it needs no library; see `struct fuse_in_header` and its kin in linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_ENTRY, _ATTR_HEAD, _OPEN = struct.Struct("<QQQQII"), struct.Struct("<QII"), struct.Struct("<QII")
_SETATTR = struct.Struct("<IIQQQQQQIIIIIIII")
_IO = struct.Struct("<QQIIQII")
_INIT = struct.Struct("<IIIIHHIIHHIIHH10H")
_MOST_BYTES = 1 << 17
_BIG_WRITES = 1 << 5
_MODE, _SIZE, _HANDLE = 1, 8, 64
_KEPT_FLAGS = os.O_ACCMODE | os.O_APPEND | os.O_TRUNC | os.O_EXCL


def folded(name: str) -> str:
    """Return what two names have in common that such a file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class Request(NamedTuple):
    """One question of the kernel: the node it is about, and what follows its header."""

    node: int
    body: bytes

    def name(self, start: int = 0) -> str:
        """Return the name behind the fixed part."""
        return os.fsdecode(self.body[start:].split(b"\0")[0])


class FoldingMount:
    """
    Answer the kernel's questions about a directory.

    Shape: a node is an O_PATH descriptor of the file below, held until the kernel forgets it, so that its inode
    number stays its own. `_names` has the real name for each folded one, for each directory that was looked at.
    """

    def __init__(self, directory: str) -> None:
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        self._nodes = {1: root}
        self._known = {_identity(root): 1}
        self._lookups = {1: 1}
        self._names: dict[int, dict[str, str]] = {}
        self._listings: dict[int, list[str]] = {}
        self._next = 2

    # ---- names and nodes --------------------------------------------------------------------------------------

    def _names_in(self, node: int) -> dict[str, str]:
        if node not in self._names:
            self._names[node] = {folded(name): name for name in os.listdir(self._path(node))}
        return self._names[node]

    def _real(self, node: int, name: str) -> str:
        """Return the name that stands in a directory for a folded one; the name itself where there is none."""
        return self._names_in(node).get(folded(name), name)

    def _path(self, node: int) -> str:
        return f"/proc/self/fd/{self._nodes[node]}"

    def _entry(self, node: int, name: str) -> bytes:
        descriptor = os.open(self._real(node, name), os.O_PATH | os.O_NOFOLLOW, dir_fd=self._nodes[node])
        identity = _identity(descriptor)
        child = self._known.get(identity)
        if child is None:
            child, self._next = self._next, self._next + 1
            self._nodes[child], self._known[identity], self._lookups[child] = descriptor, child, 0
        else:
            os.close(descriptor)
        self._lookups[child] += 1
        return _ENTRY.pack(child, 0, 0, 0, 0, 0) + _attributes(os.fstat(self._nodes[child]))

    def _forget(self, node: int, count: int) -> None:
        self._lookups[node] -= count
        if self._lookups[node] <= 0 and node != 1:
            descriptor = self._nodes.pop(node)
            del self._known[_identity(descriptor)], self._lookups[node]
            self._names.pop(node, None)
            os.close(descriptor)

    # ---- what the kernel asks ---------------------------------------------------------------------------------

    def init(self, request: Request) -> bytes:
        """Agree on a version of the protocol; locks stay the kernel's."""
        _major, _minor, readahead, flags = struct.unpack_from("<4I", request.body)
        return _INIT.pack(7, 31, readahead, flags & _BIG_WRITES, 0, 0, _MOST_BYTES, 1, 0, 0, 0, 0, 0, 0, *([0] * 10))

    def lookup(self, request: Request) -> bytes:
        """Find a name."""
        return self._entry(request.node, request.name())

    def getattr(self, request: Request) -> bytes:
        """Tell a node's state."""
        return _ATTR_HEAD.pack(0, 0, 0) + _attributes(os.fstat(self._nodes[request.node]))

    def setattr(self, request: Request) -> bytes:
        """Change a node's mode or size."""
        valid, _, handle, size, *_times, mode, _, _uid, _gid, _ = _SETATTR.unpack_from(request.body)
        if valid & _MODE:
            os.chmod(self._path(request.node), stat.S_IMODE(mode))
        if valid & _SIZE:
            os.truncate(handle if valid & _HANDLE else self._path(request.node), size)
        return self.getattr(request)

    def mkdir(self, request: Request) -> bytes:
        """Make a directory."""
        mode, _umask = struct.unpack_from("<II", request.body)
        name = request.name(8)
        os.mkdir(self._real(request.node, name), mode, dir_fd=self._nodes[request.node])
        self._names_in(request.node).setdefault(folded(name), name)
        return self._entry(request.node, name)

    def unlink(self, request: Request) -> bytes:
        """Remove a name."""
        os.unlink(self._real(request.node, request.name()), dir_fd=self._nodes[request.node])
        self._names_in(request.node).pop(folded(request.name()), None)
        return b""

    def rmdir(self, request: Request) -> bytes:
        """Remove a directory."""
        os.rmdir(self._real(request.node, request.name()), dir_fd=self._nodes[request.node])
        self._names_in(request.node).pop(folded(request.name()), None)
        return b""

    def rename(self, request: Request, fixed_bytes: int = 8) -> bytes:
        """Give a file another name, in the place of whatever has one that folds to the same."""
        (parent,) = struct.unpack_from("<Q", request.body)
        old = request.name(fixed_bytes)
        new = request.name(fixed_bytes + len(os.fsencode(old)) + 1)
        real = self._real(parent, new)
        here, there = self._nodes[request.node], self._nodes[parent]
        os.rename(self._real(request.node, old), real, src_dir_fd=here, dst_dir_fd=there)
        self._names_in(request.node).pop(folded(old), None)
        self._names_in(parent)[folded(new)] = real
        return b""

    def rename2(self, request: Request) -> bytes:
        """Rename; the flags of renameat2 are not known here."""
        return self.rename(request, 16)

    def open(self, request: Request) -> bytes:
        """Open a file."""
        (flags, _) = struct.unpack_from("<II", request.body)
        return _OPEN.pack(os.open(self._path(request.node), flags & _KEPT_FLAGS), 0, 0)

    def create(self, request: Request) -> bytes:
        """Open a file that is made if no name folds to its name."""
        flags, mode, _umask, _ = struct.unpack_from("<IIII", request.body)
        name = request.name(16)
        real, here = self._real(request.node, name), self._nodes[request.node]
        handle = os.open(real, flags & _KEPT_FLAGS | os.O_CREAT | os.O_NOFOLLOW, stat.S_IMODE(mode), dir_fd=here)
        self._names_in(request.node).setdefault(folded(name), real)
        return self._entry(request.node, name) + _OPEN.pack(handle, 0, 0)

    def read(self, request: Request) -> bytes:
        """Read a piece of a file."""
        handle, offset, size, *_ = _IO.unpack_from(request.body)
        return os.pread(handle, size, offset)

    def write(self, request: Request) -> bytes:
        """Write a piece of a file."""
        handle, offset, size, *_ = _IO.unpack_from(request.body)
        return struct.pack("<II", os.pwrite(handle, request.body[_IO.size : _IO.size + size], offset), 0)

    def release(self, request: Request) -> bytes:
        """Close a file."""
        os.close(struct.unpack_from("<Q", request.body)[0])
        return b""

    def fsync(self, request: Request) -> bytes:
        """Flush a file."""
        os.fsync(struct.unpack_from("<Q", request.body)[0])
        return b""

    def opendir(self, request: Request) -> bytes:
        """Take down a directory's names as they are now."""
        handle, self._next = self._next, self._next + 1
        self._listings[handle] = os.listdir(self._path(request.node))
        return _OPEN.pack(handle, 0, 0)

    def readdir(self, request: Request) -> bytes:
        """List what was taken down, as much as there is room for."""
        handle, offset, size, *_ = _IO.unpack_from(request.body)
        piece = b""
        for number, name in enumerate(self._listings[handle][offset:], start=offset + 1):
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", number, number, len(raw), 0) + raw
            entry += bytes(-len(entry) % 8)
            if len(piece) + len(entry) > size:
                break
            piece += entry
        return piece

    def releasedir(self, request: Request) -> bytes:
        """Forget what was taken down."""
        del self._listings[struct.unpack_from("<Q", request.body)[0]]
        return b""

    def nothing(self, _request: Request) -> bytes:
        """Agree to what needs nothing done."""
        return b""

    # ---- the conversation -------------------------------------------------------------------------------------

    def serve(self, channel: int) -> None:
        """Answer until it is unmounted."""
        while True:
            try:
                raw = os.read(channel, _MOST_BYTES + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(raw)
            request = Request(node, raw[_IN.size :])
            if opcode == _FORGET:
                self._forget(node, struct.unpack_from("<Q", request.body)[0])
            elif opcode == _BATCH_FORGET:
                for one in range(struct.unpack_from("<I", request.body)[0]):
                    self._forget(*struct.unpack_from("<QQ", request.body, 8 + 16 * one))
            elif opcode != _INTERRUPT:
                number, answer = self._answer(opcode, request)
                os.write(channel, _OUT.pack(_OUT.size + len(answer), -number, unique) + answer)

    def _answer(self, opcode: int, request: Request) -> tuple[int, bytes]:
        method = _METHODS.get(opcode)
        if method is None:
            return errno.ENOSYS, b""
        try:
            return 0, method(self, request)
        except OSError as error:
            return error.errno or errno.EIO, b""


_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_METHODS: dict[int, Callable[[FoldingMount, Request], bytes]] = {
    1: FoldingMount.lookup, 3: FoldingMount.getattr, 4: FoldingMount.setattr, 9: FoldingMount.mkdir,
    10: FoldingMount.unlink, 11: FoldingMount.rmdir, 12: FoldingMount.rename, 14: FoldingMount.open,
    15: FoldingMount.read, 16: FoldingMount.write, 18: FoldingMount.release, 20: FoldingMount.fsync,
    25: FoldingMount.nothing, 26: FoldingMount.init, 27: FoldingMount.opendir, 28: FoldingMount.readdir,
    29: FoldingMount.releasedir, 30: FoldingMount.nothing, 35: FoldingMount.create, 45: FoldingMount.rename2,
}


def _identity(descriptor: int) -> tuple[int, int]:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino


def _attributes(state: os.stat_result) -> bytes:
    times = (state.st_atime_ns, state.st_mtime_ns, state.st_ctime_ns)
    return _ATTR.pack(
        state.st_ino, state.st_size, state.st_blocks, *(ns // 10**9 for ns in times), *(ns % 10**9 for ns in times),
        state.st_mode, state.st_nlink, state.st_uid, state.st_gid, 0, state.st_blksize, 0,
    )


def main(directory: str, shown_at: str) -> None:
    """Mount, say so on standard output, and serve."""
    os.umask(0)  # the kernel applied the caller's
    channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={channel},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    served = FoldingMount(directory)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"folding", os.fsencode(shown_at), b"fuse.folding", 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}")
    os.write(1, b"mounted\n")
    served.serve(channel)


if __name__ == "__main__":
    main(*sys.argv[1:])
