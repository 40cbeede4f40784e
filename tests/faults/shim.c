/* Faults that nothing else brings about, for a process that has this in LD_PRELOAD: an allocation
   that fails, a wall clock that jumps. What it does is said in a file that both sides map. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t countdown; /* the allocation that fails is so many away; 0: none */
    int64_t failed;    /* how many have failed */
    int64_t ours_only; /* count only what the compiled modules of wsgroups ask for themselves */
    int64_t clock;     /* seconds that the wall clock is wrong by */
    int64_t size;      /* count only those of this size; 0: of any */
};

static struct control *volatile control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *memory;
    if (fd < 0)
        return;
    memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED)
        control = memory;
}

/* --- allocations: of the first thread, which is the loop's ------------------------------------ */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static int fails(size_t size, void *caller) {
    struct control *now = control;
    Dl_info info;
    if (now == NULL || now->countdown <= 0 || syscall(SYS_gettid) != getpid())
        return 0;
    if (now->size && size != (size_t) now->size)
        return 0;
    if (now->ours_only && (!dladdr(caller, &info) || strstr(info.dli_fname, "/wsgroups/") == NULL))
        return 0;
    if (--now->countdown)
        return 0;
    now->failed++;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return fails(count * size, __builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}

/* --- the wall clock ----------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *result) {
    int failed = (int) syscall(SYS_clock_gettime, clock, result);
    if (!failed && control != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        result->tv_sec += control->clock;
    return failed;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
    struct timespec now;
    (void) zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL)
        *result = now.tv_sec;
    return now.tv_sec;
}
