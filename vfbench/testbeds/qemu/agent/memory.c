/* A program that writes to its memory at a rate, as the guest's own work does. */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "agent.h"

#define PAGE 4096
#define STEP_NS 5000000
#define MOST_LATE_NS 50000000ull

static u64 now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* What was missed while the guest stood still is not made up for. */
int dirty(u64 bytes, u64 pages_per_s) {
    u64 pages = bytes / PAGE, written = 0, began, due = 0, done = 0;
    u8 *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec step = {0, STEP_NS};
    if (memory == MAP_FAILED || !pages) return errno = pages ? errno : EINVAL, failed("dirty");
    if (!in_background("dirty")) return 0;
    for (u64 page = 0; page < pages; page++) memory[page * PAGE] = 1; /* after the fork: its own pages */
    for (began = now_ns(); !pending_end(&step);) {
        u64 passed_ns = now_ns() - began;
        if (passed_ns > due + MOST_LATE_NS) began += passed_ns - due - MOST_LATE_NS, passed_ns = due + MOST_LATE_NS;
        due = passed_ns;
        for (u64 wanted = due / 1000 * pages_per_s / 1000000; done < wanted; done++, written++)
            memory[written % pages * PAGE]++;
    }
    fprintf(report(), "{\"agent\":\"dirty\",\"bytes\":%llu,\"pages\":%llu}", bytes, written);
    reported();
    return 0;
}
