/* Processes in the background: NAME.pid while they go on, NAME.json once they have said what they saw, in /run/agent
 * or where AGENT_FOLDER says (the tests run this program on the host). */
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

static const char *folder(void) {
    const char *named = getenv("AGENT_FOLDER");
    return named ? named : "/run/agent";
}

static void path_of(char *path, size_t size, const char *name, const char *kind) {
    snprintf(path, size, "%s/%s.%s", folder(), name, kind);
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
    char path[512];
    mkdir(folder(), 0700);
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
    char path[512];
    path_of(path, sizeof path, own_name, "part");
    freopen(path, "w", stdout);
    return stdout;
}

void reported(void) {
    char part[512], whole[512], pid[512];
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
    char path[512];
    DIR *listed = opendir(folder());
    struct dirent *entry;
    while (listed && (entry = readdir(listed))) {
        char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot + 1, kind)) continue;
        snprintf(path, sizeof path, "%s/%s", folder(), entry->d_name);
        if (each) each(path);
        found++;
    }
    if (listed) closedir(listed);
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
