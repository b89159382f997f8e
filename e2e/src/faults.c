/* Makes the disk of one process fail on demand. Preloaded into the process; while the file
 * $HIGHWATER_FAULTS/sync.<pid> exists, syncing a file is an I/O error, and while
 * $HIGHWATER_FAULTS/full.<pid> exists, writing to one finds no room; while slow.<pid> exists, syncing one takes
 * 100 ms more. Sockets, pipes and logs are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int demanded(const char *fault)
{
    const char *dir = getenv("HIGHWATER_FAULTS");
    char path[4096];
    if (!dir)
        return 0;
    snprintf(path, sizeof path, "%s/%s.%d", dir, fault, (int)getpid());
    int saved = errno;
    int found = access(path, F_OK) == 0;
    errno = saved;
    return found;
}

static int is_file(int fd)
{
    struct stat stat;
    return fd > STDERR_FILENO && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

#define SYNC(name)                                                                                 \
    int name(int fd)                                                                               \
    {                                                                                              \
        if (demanded("sync")) {                                                                    \
            errno = EIO;                                                                           \
            return -1;                                                                             \
        }                                                                                          \
        if (demanded("slow"))                                                                      \
            usleep(100000);                                                                        \
        return REAL(name)(fd);                                                                     \
    }

SYNC(fsync)
SYNC(fdatasync)

#define NO_ROOM(fd)                                                                                \
    if (is_file(fd) && demanded("full")) {                                                         \
        errno = ENOSPC;                                                                            \
        return -1;                                                                                 \
    }

ssize_t write(int fd, const void *bytes, size_t count)
{
    NO_ROOM(fd)
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    NO_ROOM(fd)
    return REAL(writev)(fd, pieces, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    NO_ROOM(fd)
    return REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    NO_ROOM(fd)
    return REAL(pwrite64)(fd, bytes, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    NO_ROOM(fd)
    return REAL(pwritev)(fd, pieces, count, offset);
}
