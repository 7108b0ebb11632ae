/* The dummy write of a driver that nobody changes: a native XDP program runs on each packet before the kernel keeps
 * it, so it writes back one byte of the packet, and the page is in the hypervisor's log.
 *
 * The program is written as instructions and loaded by bpf(2), so neither headers nor a compiler for BPF are needed.
 * Source: Linux, include/uapi/linux/bpf.h; Documentation/bpf/standardization/instruction-set.rst.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"

struct instruction {
    u8 code;
    u8 registers; /* destination in the low half, source in the high one */
    short offset;
    s32 immediate;
};

enum {
    LOAD_WORD = 0x61,   /* BPF_LDX | BPF_MEM | BPF_W */
    LOAD_BYTE = 0x71,   /* BPF_LDX | BPF_MEM | BPF_B */
    STORE_BYTE = 0x73,  /* BPF_STX | BPF_MEM | BPF_B */
    COPY = 0xBF,        /* BPF_ALU64 | BPF_MOV | BPF_X */
    SET = 0xB7,         /* BPF_ALU64 | BPF_MOV | BPF_K */
    ADD = 0x07,         /* BPF_ALU64 | BPF_ADD | BPF_K */
    JUMP_ABOVE = 0x2D,  /* BPF_JMP | BPF_JGT | BPF_X */
    RETURN = 0x95,      /* BPF_JMP | BPF_EXIT */
};
enum { DATA = 0, DATA_END = 4 }; /* struct xdp_md */
enum { XDP_PASS = 2, PROG_LOAD = 5, LINK_CREATE = 28, PROG_TYPE_XDP = 6, ATTACH_XDP = 37, DRIVER_MODE = 4 };
#define REGISTERS(to, from) ((from) << 4 | (to))

struct program_load { /* union bpf_attr for BPF_PROG_LOAD */
    u32 type, instructions;
    u64 first_instruction, license;
    u32 log_level, log_size;
    u64 log;
    u8 rest[96];
};

struct link_create { /* union bpf_attr for BPF_LINK_CREATE */
    u32 program, interface, attach_type, flags;
    u8 rest[96];
};

static char verifier_said[1 << 15];

static int load_program(int write) {
    struct instruction program[] = {
        {LOAD_WORD, REGISTERS(2, 1), DATA, 0},
        {LOAD_WORD, REGISTERS(3, 1), DATA_END, 0},
        {COPY, REGISTERS(4, 2), 0, 0},
        {ADD, REGISTERS(4, 0), 0, 1},
        {JUMP_ABOVE, REGISTERS(4, 3), 2, 0},
        {LOAD_BYTE, REGISTERS(5, 2), 0, 0},
        {STORE_BYTE, REGISTERS(2, 5), 0, 0},
        {SET, REGISTERS(0, 0), 0, XDP_PASS},
        {RETURN, 0, 0, 0},
    };
    if (!write) program[6].code = COPY, program[6].registers = REGISTERS(5, 5); /* the control: reads only */
    struct program_load load = {
        .type = PROG_TYPE_XDP,
        .instructions = sizeof program / sizeof *program,
        .first_instruction = (u64)program,
        .license = (u64) "GPL",
        .log_level = 1,
        .log_size = sizeof verifier_said,
        .log = (u64)verifier_said,
    };
    return syscall(SYS_bpf, PROG_LOAD, &load, sizeof load);
}

int attach_xdp(const char *interface, int write) {
    int program = load_program(write);
    if (program < 0) return failed("the kernel does not load the XDP program");
    struct link_create link = {
        .program = program,
        .interface = if_nametoindex(interface),
        .attach_type = ATTACH_XDP,
        .flags = DRIVER_MODE,
    };
    int attached = syscall(SYS_bpf, LINK_CREATE, &link, sizeof link);
    if (attached < 0) return failed("the driver takes no native XDP program");
    printf("{\"agent\":\"xdp\",\"mode\":\"%s\"}\n", write ? "write" : "read");
    fflush(stdout);
    if (in_background("xdp")) { /* the link lasts as long as somebody holds it */
        while (wait_for_input(-1)) {}
        fprintf(report(), "{\"agent\":\"xdp\",\"mode\":\"%s\"}", write ? "write" : "read");
        reported();
    }
    return 0;
}

#define SIOCETHTOOL_ 0x8946
#define ETHTOOL_SPFLAGS_ 0x28

int set_private_flags(const char *interface, unsigned bits) {
    u32 value[2] = {ETHTOOL_SPFLAGS_, bits};
    struct ifreq request = {0};
    strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
    request.ifr_data = (char *)value;
    if (ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCETHTOOL_, &request)) return failed("ethtool");
    printf("{\"agent\":\"flag\",\"bits\":%u}\n", bits);
    return 0;
}
