/* Packets that are held in sockets and checked word by word.
 *
 * A packet's UDP payload, little endian: magic, bytes of body (16 bits; those above are for application.c), sequence
 * number, and a body of 64-bit words that only this packet has. Every packet that is read ends in one class:
 *   good      every word is right, and the sequence number is new
 *   zero      from the first wrong word on there are zeros
 *   older     whole, but a packet that was read before
 *   mixture   anything else that begins like a packet
 *   foreign   no packet of ours, and not zero
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent.h"

#define MAGIC 0x31424656u
#define WORD_STEP 0xBF58476D1CE4E5B9ull
#define SEQUENCE_STEP 0x9E3779B97F4A7C15ull
#define HEADER_BYTES 16
#define ECHOED_BYTES 64
#define SEQUENCES (1u << 22)
#define LISTED 2000
#define BUFFER_BYTES (192 << 20)
#define SO_RCVBUFFORCE_ 33
#define SO_MEMINFO_ 55
#define MEMINFO_DROPS 8

struct damage {
    u64 sequence;
    int first_word, bad_words, words;
};

static u64 packets, good, zero, older, mixture, foreign, too_short, last_sequence, answered;
static u8 seen[SEQUENCES / 8];
static struct damage listed[LISTED];
static int damages;
static u8 packet[1 << 16];

static u64 word_at(const u8 *at, int bytes) {
    u64 word = 0;
    memcpy(&word, at, bytes);
    return word;
}

static int all_zero(const u8 *from, int bytes) {
    while (bytes-- > 0)
        if (*from++) return 0;
    return 1;
}

static void note_damage(u64 sequence, int first_word, int bad_words, int words) {
    struct damage found = {sequence, first_word, bad_words, words};
    if (damages < LISTED) listed[damages++] = found;
}

static void check_body(const u8 *body, int bytes, u64 sequence) {
    int bad = 0, first = -1, words = (bytes + 7) / 8;
    for (int i = 0; i < words; i++) {
        int length = bytes - 8 * i < 8 ? bytes - 8 * i : 8;
        u64 wanted = (u64)i * WORD_STEP + sequence * SEQUENCE_STEP;
        if (length < 8) wanted &= (1ull << 8 * length) - 1;
        if (word_at(body + 8 * i, length) == wanted) continue;
        if (first < 0) first = i;
        bad++;
    }
    if (bad) {
        if (all_zero(body + 8 * first, bytes - 8 * first)) zero++;
        else mixture++;
        note_damage(sequence, first, bad, words);
    } else if (sequence < SEQUENCES && seen[sequence / 8] >> sequence % 8 & 1) {
        older++;
        note_damage(sequence, -1, 0, words);
    } else {
        good++;
        if (sequence < SEQUENCES) seen[sequence / 8] |= 1 << sequence % 8;
        if (sequence > last_sequence) last_sequence = sequence;
    }
}

static void check(const u8 *payload, int bytes) {
    packets++;
    if (bytes < HEADER_BYTES) {
        too_short++;
    } else if (all_zero(payload, bytes)) {
        zero++;
        note_damage(0, 0, (bytes - HEADER_BYTES + 7) / 8, (bytes - HEADER_BYTES + 7) / 8);
    } else if (word_at(payload, 4) != MAGIC) {
        foreign++;
    } else if (word_at(payload + 4, 2) != (u64)(bytes - HEADER_BYTES)) {
        mixture++;
        note_damage(word_at(payload + 8, 8), 0, 0, (bytes - HEADER_BYTES + 7) / 8);
    } else {
        check_body(payload + HEADER_BYTES, bytes - HEADER_BYTES, word_at(payload + 8, 8));
    }
}

static u32 dropped_by(int handle) {
    u32 memory[16] = {0};
    socklen_t size = sizeof memory;
    getsockopt(handle, SOL_SOCKET, SO_MEMINFO_, memory, &size);
    return memory[MEMINFO_DROPS];
}

static void print_verdict(const char *name, int port, u32 drops) {
    FILE *out = report();
    fprintf(out, "{\"agent\":\"%s\",\"port\":%d,\"packets\":%llu,\"good\":%llu,\"stale\":%llu,", name, port,
            packets, good, zero + older + mixture + foreign);
    fprintf(out, "\"zero\":%llu,\"older\":%llu,\"mixture\":%llu,\"foreign\":%llu,\"short\":%llu,", zero, older, mixture,
            foreign, too_short);
    fprintf(out, "\"last_sequence\":%llu,\"socket_drops\":%u,\"answered\":%llu,\"damaged\":[", last_sequence, drops,
            answered);
    for (int i = 0; i < damages; i++)
        fprintf(out, "%s[%llu,%d,%d,%d]", i ? "," : "", listed[i].sequence, listed[i].first_word, listed[i].bad_words,
                listed[i].words);
    fprintf(out, "],\"seen\":\"");
    for (u64 i = 0; i <= last_sequence / 8; i++) fprintf(out, "%02x", seen[i]);
    fprintf(out, "\"}");
    reported();
}

static void read_all(int handle, int echo) {
    struct sockaddr_in from;
    for (;;) {
        socklen_t size = sizeof from;
        int bytes = recvfrom(handle, packet, sizeof packet, MSG_DONTWAIT, (void *)&from, &size);
        if (bytes < 0) return;
        check(packet, bytes);
        if (echo) sendto(handle, packet, bytes < ECHOED_BYTES ? bytes : ECHOED_BYTES, 0, (void *)&from, size);
    }
}

static int open_socket(unsigned port) {
    int handle = socket(AF_INET, SOCK_DGRAM, 0), room = BUFFER_BYTES;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(handle, SOL_SOCKET, SO_RCVBUFFORCE_, &room, sizeof room);
    return handle < 0 || bind(handle, (void *)&own, sizeof own) ? -1 : handle;
}

int receive(unsigned port, int echo) {
    char name[32];
    int handle = open_socket(port);
    if (handle < 0) return failed("bind");
    snprintf(name, sizeof name, "%s-%u", echo ? "echo" : "hold", port);
    if (!in_background(name)) return 0;
    while (wait_for_input(echo ? handle : -1)) read_all(handle, echo);
    u32 drops = dropped_by(handle);
    read_all(handle, echo);
    print_verdict(echo ? "echo" : "hold", port, drops);
    return 0;
}

#define SOL_PACKET_ 263
#define PACKET_STATISTICS_ 6
#define PACKET_IGNORE_OUTGOING_ 23
#define ETH_P_ALL_ 3

struct link_address { /* struct sockaddr_ll */
    u16 family, protocol;
    s32 index;
    u16 hardware;
    u8 type, length, address[8];
};

/* FNV-1a, over 64-bit words: a frame of a capture has no sequence number, its contents have to tell which it is. */
static u64 hash(const u8 *from, int bytes) {
    u64 found = 0xCBF29CE484222325ull;
    for (; bytes > 0; from += 8, bytes -= 8) found = (found ^ word_at(from, bytes < 8 ? bytes : 8)) * 0x100000001B3ull;
    return found;
}

static int zero_words(const u8 *from, int bytes) {
    int found = 0;
    for (; bytes >= 8; from += 8, bytes -= 8) found += !word_at(from, 8);
    return found;
}

/* Every frame that the interface receives, from now on; -1 if there is none. Without a protocol until it is bound, so that
 * neither other interfaces' frames come meanwhile nor those that the kernel sends (packet(7)). */
static int open_packet_socket(const char *interface) {
    int handle = socket(AF_PACKET, SOCK_RAW, 0), room = BUFFER_BYTES, yes = 1;
    struct link_address own = {.family = AF_PACKET, .protocol = htons(ETH_P_ALL_), .index = if_nametoindex(interface)};
    setsockopt(handle, SOL_SOCKET, SO_RCVBUFFORCE_, &room, sizeof room);
    setsockopt(handle, SOL_PACKET_, PACKET_IGNORE_OUTGOING_, &yes, sizeof yes);
    return handle < 0 || !own.index || bind(handle, (void *)&own, sizeof own) ? -1 : handle;
}

int hold_frames(const char *interface) {
    char name[32];
    u32 counted[2] = {0};
    socklen_t size = sizeof counted;
    int handle = open_packet_socket(interface), bytes;
    if (handle < 0) return failed(interface);
    snprintf(name, sizeof name, "raw-%s", interface);
    if (!in_background(name)) return 0;
    wait_for_input(-1);
    getsockopt(handle, SOL_PACKET_, PACKET_STATISTICS_, counted, &size);
    FILE *out = report();
    fprintf(out, "{\"agent\":\"raw\",\"frames\":[");
    for (; (bytes = recv(handle, packet, sizeof packet, MSG_DONTWAIT)) >= 0; packets++)
        fprintf(out, "%s[%d,\"%016llx\",%d]", packets ? "," : "", bytes, hash(packet, bytes), zero_words(packet, bytes));
    fprintf(out, "],\"packets\":%llu,\"socket_drops\":%u}", packets, counted[1]);
    reported();
    return 0;
}
