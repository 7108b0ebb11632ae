/* What the parts of the guest's program share. It is compiled as one file. */
#ifndef AGENT_H
#define AGENT_H

#include <stdint.h>
#include <stdio.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned long long u64;

/* background.c */
u64 number(const char *text);
int failed(const char *what);
int in_background(const char *name);   /* 1 in the process that goes on, 0 in the one that returns to the shell */
int told_to_end(void);
int wait_for_input(int handle);        /* 0 once told to end */
struct timespec;
int pending_end(const struct timespec *wait);   /* 1 if told to end within that time */
FILE *report(void);                    /* where a background process writes its object */
void reported(void);
int collect(void);

int receive(unsigned port, int echo);               /* packets.c */
int apply(unsigned port, u64 hold_us);               /* application.c */
int apply_to_frames(const char *interface, u64 hold_us); /* frames.c */
int hold_frames(const char *interface);
int dirty(u64 bytes, u64 pages_per_s);              /* memory.c */
int attach_xdp(const char *interface, int write);   /* xdp.c */
int set_private_flags(const char *interface, unsigned bits);

#endif
