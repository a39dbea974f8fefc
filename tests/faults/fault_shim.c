/*
 * Stand between a process and its C library, by LD_PRELOAD: fail, cut short or die at the n-th call on files below a
 * directory. What Python's seam would hide (a call that does not go through it) is met here all the same.
 *
 * fault_shim_watch(root)  counts calls on paths below root from now on, and flushes nothing there: only a loss of
 *                         power could tell.
 * fault_shim_arm(...)     interrupts one of the calls that follow; fault_shim_disarm() returns the name of that one.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL, SHORT, KILL, MOST_DESCRIPTORS = 65536 };

static char root[4096];
static char is_ours[MOST_DESCRIPTORS];
static char hit_name[32];
static int armed, kind, number, times;
static long wanted, seen;

void fault_shim_watch(const char *path) { snprintf(root, sizeof root, "%s", path); }

void fault_shim_arm(long index, int how, int error, int how_often) {
    wanted = index, kind = how, number = error, times = how_often, seen = 0, hit_name[0] = 0, armed = 1;
}

const char *fault_shim_disarm(void) {
    armed = 0;
    return hit_name;
}

static int below(const char *path) { return root[0] && path && !strncmp(path, root, strlen(root)); }
static int ours(int fd) { return fd >= 0 && fd < MOST_DESCRIPTORS && is_ours[fd]; }

/* Count a call; tell whether this is the one, or one of its name behind it that is to have the same fate. */
static int is_now(const char *name) {
    int is_write = !strncmp(name, "write", 5) || !strncmp(name, "pwrite", 6);
    if (!armed || (kind == SHORT && !is_write)) return 0;
    long index = seen++;
    if (index == wanted) snprintf(hit_name, sizeof hit_name, "%s", name);
    if (index < wanted || times <= 0 || strcmp(name, hit_name)) return 0;
    times--;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int kept(int fd, const char *path) {
    if (fd >= 0 && fd < MOST_DESCRIPTORS) is_ours[fd] = (char)below(path);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) {
    MODE(flags) REAL(open);
    return below(path) && is_now("open") ? -1 : kept(real(path, flags, mode), path);
}
int open64(const char *path, int flags, ...) {
    MODE(flags) REAL(open64);
    return below(path) && is_now("open") ? -1 : kept(real(path, flags, mode), path);
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags) REAL(openat);
    return below(path) && is_now("open") ? -1 : kept(real(at, path, flags, mode), path);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags) REAL(openat64);
    return below(path) && is_now("open") ? -1 : kept(real(at, path, flags, mode), path);
}
DIR *opendir(const char *path) {
    REAL(opendir);
    return below(path) && is_now("opendir") ? NULL : real(path);
}
/* The system gives a descriptor back whatever it answers. */
int close(int fd) {
    REAL(close);
    int fails = ours(fd) && is_now("close");
    if (fd >= 0 && fd < MOST_DESCRIPTORS) is_ours[fd] = 0;
    int closed = real(fd);
    if (fails) errno = number;
    return fails ? -1 : closed;
}

static size_t part(size_t bytes) { return bytes > 1 ? bytes / 2 : bytes; }

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (!ours(fd) || !is_now("write")) return real(fd, bytes, count);
    return kind == SHORT ? real(fd, bytes, part(count)) : -1;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (!ours(fd) || !is_now("pwrite")) return real(fd, bytes, count, at);
    return kind == SHORT ? real(fd, bytes, part(count), at) : -1;
}
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    REAL(writev);
    if (!ours(fd) || !is_now("writev")) return real(fd, pieces, count);
    if (kind != SHORT) return -1;
    struct iovec first = {pieces[0].iov_base, part(pieces[0].iov_len)};
    return count && first.iov_len ? real(fd, &first, 1) : real(fd, pieces, count);
}

/* The calls below all read the same: on what is ours, fail now or go on. */
#define ON_FD(type, name, shown, parameters, arguments) \
    type name parameters { REAL(name); return ours(fd) && is_now(shown) ? -1 : real arguments; }
#define ON_PATH(type, name, shown, parameters, arguments) \
    type name parameters { REAL(name); return below(path) && is_now(shown) ? -1 : real arguments; }

ON_FD(ssize_t, read, "read", (int fd, void *bytes, size_t count), (fd, bytes, count))
ON_FD(off64_t, lseek64, "lseek", (int fd, off64_t at, int whence), (fd, at, whence))
ON_FD(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
ON_FD(int, fchmod, "fchmod", (int fd, mode_t mode), (fd, mode))
ON_FD(int, flock, "flock", (int fd, int how), (fd, how))
ON_FD(int, fstat64, "fstat", (int fd, struct stat64 *state), (fd, state))
ON_PATH(int, stat64, "stat", (const char *path, struct stat64 *state), (path, state))
ON_PATH(int, lstat64, "lstat", (const char *path, struct stat64 *state), (path, state))
ON_PATH(int, fstatat64, "fstatat", (int at, const char *path, struct stat64 *state, int how), (at, path, state, how))
ON_PATH(int, rename, "rename", (const char *path, const char *to), (path, to))
ON_PATH(int, renameat, "rename", (int at, const char *path, int there, const char *to), (at, path, there, to))
ON_PATH(int, link, "link", (const char *path, const char *to), (path, to))
ON_PATH(int, linkat, "link", (int at, const char *path, int there, const char *to, int how), (at, path, there, to, how))
ON_PATH(int, unlink, "unlink", (const char *path), (path))
ON_PATH(int, unlinkat, "unlink", (int at, const char *path, int how), (at, path, how))
ON_PATH(int, mkdir, "mkdir", (const char *path, mode_t mode), (path, mode))
ON_PATH(int, mkdirat, "mkdir", (int at, const char *path, mode_t mode), (at, path, mode))
ON_PATH(int, chmod, "chmod", (const char *path, mode_t mode), (path, mode))
ON_PATH(int, fchmodat, "chmod", (int at, const char *path, mode_t mode, int how), (at, path, mode, how))

int fsync(int fd) {
    REAL(fsync);
    return !ours(fd) ? real(fd) : is_now("fsync") ? -1 : 0;
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return !ours(fd) ? real(fd) : is_now("fsync") ? -1 : 0;
}
int fcntl64(int fd, int command, ...) {
    REAL(fcntl64);
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    return locks && ours(fd) && is_now("fcntl") ? -1 : real(fd, command, argument);
}
