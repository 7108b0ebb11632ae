/* Processes in the background: /run/NAME.pid while they go on, /run/NAME.json once they have said what they saw. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define FOLDER "/run/agent"
#define COLLECT_MS 30000

static char own_name[64];
static volatile sig_atomic_t ending;
static sigset_t while_waiting;

u64 number(const char *text) { return strtoull(text, 0, 0); }

int failed(const char *what) {
    printf("{\"error\":\"%s: %s\",\"errno\":%d}\n", what, strerror(errno), errno);
    return 1;
}

static void end_now(int signal_number) {
    (void)signal_number;
    ending = 1;
}

static void path_of(char *path, size_t size, const char *name, const char *kind) {
    snprintf(path, size, FOLDER "/%s.%s", name, kind);
}

/* SIGUSR1 is let in only while a process waits for input, so that none is lost between a look and a wait. */
static void listen_for_end(void) {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, &while_waiting);
    struct sigaction action = {.sa_handler = end_now};
    sigaction(SIGUSR1, &action, 0);
}

int in_background(const char *name) {
    char path[128];
    mkdir(FOLDER, 0700);
    snprintf(own_name, sizeof own_name, "%s", name);
    listen_for_end();
    int child = fork();
    if (child < 0) return failed("fork"), 0;
    if (child > 0) {
        path_of(path, sizeof path, name, "pid");
        FILE *file = fopen(path, "w");
        if (file) fprintf(file, "%d\n", child), fclose(file);
        return 0;
    }
    setsid();
    int nowhere = open("/dev/null", O_RDWR);
    for (int handle = 0; handle < 3; handle++) dup2(nowhere, handle);
    return 1;
}

int told_to_end(void) { return ending; }

int wait_for_input(int handle) {
    struct pollfd input = {.fd = handle, .events = POLLIN};
    while (!ending) {
        if (ppoll(&input, handle < 0 ? 0 : 1, 0, &while_waiting) > 0) return 1;
    }
    return 0;
}

int pending_end(const struct timespec *wait) {
    if (!ending) ppoll(0, 0, wait, &while_waiting);
    return ending;
}

FILE *report(void) {
    char path[128];
    path_of(path, sizeof path, own_name, "part");
    freopen(path, "w", stdout);
    return stdout;
}

void reported(void) {
    char part[128], whole[128], pid[128];
    fputc('\n', stdout);
    fflush(stdout);
    path_of(part, sizeof part, own_name, "part");
    path_of(whole, sizeof whole, own_name, "json");
    path_of(pid, sizeof pid, own_name, "pid");
    rename(part, whole);
    unlink(pid);
    _exit(0);
}

static void copy_out(const char *path) {
    char piece[4096];
    size_t length;
    FILE *file = fopen(path, "r");
    if (!file) return;
    while ((length = fread(piece, 1, sizeof piece, file)) > 0) fwrite(piece, 1, length, stdout);
    fclose(file);
    unlink(path);
}

/* Calls `each` for every file in the folder whose name ends with `kind`; returns how many there were. */
static int for_each(const char *kind, void (*each)(const char *)) {
    int found = 0;
    char path[320];
    DIR *folder = opendir(FOLDER);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot + 1, kind)) continue;
        snprintf(path, sizeof path, FOLDER "/%s", entry->d_name);
        if (each) each(path);
        found++;
    }
    if (folder) closedir(folder);
    return found;
}

static void tell_to_end(const char *path) {
    int process = 0;
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (fscanf(file, "%d", &process) != 1 || kill(process, SIGUSR1)) unlink(path);
    fclose(file);
}

int collect(void) {
    struct timespec a_while = {0, 10 * 1000 * 1000};
    for_each("pid", tell_to_end);
    for (int waited_ms = 0; for_each("pid", 0); waited_ms += 10) {
        if (waited_ms > COLLECT_MS) return errno = ETIMEDOUT, failed("collect");
        nanosleep(&a_while, 0);
    }
    for_each("json", copy_out);
    return 0;
}
