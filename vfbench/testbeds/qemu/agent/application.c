/* The workload's application: it keeps each packet for a while in its socket, checks it, and answers if it is asked to.
 *
 * The upper half of a packet's second word (bytes of body) says how many bytes of payload an answer has, 0 for none.
 * An answer is a packet of the request's sequence number. What is read only because the run has ended is not answered:
 * there is no device any more that would send it.
 */
#include <time.h>

#define SO_TIMESTAMPNS_ 35
#define LONGEST_WAIT_NS 20000000

/* How long the socket's first packet is still to be kept, in ns; negative if there is none. */
static s64 left_to_hold(int handle, s64 hold_ns) {
    char control[256], one;
    struct iovec vector = {&one, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct timespec arrived = {0}, now;
    if (recvmsg(handle, &message, MSG_PEEK | MSG_DONTWAIT) < 0) return -1;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        if (each->cmsg_type == SO_TIMESTAMPNS_) memcpy(&arrived, CMSG_DATA(each), sizeof arrived);
    clock_gettime(CLOCK_REALTIME, &now);
    s64 held = (s64)(now.tv_sec - arrived.tv_sec) * 1000000000 + (now.tv_nsec - arrived.tv_nsec);
    return held >= hold_ns ? 0 : hold_ns - held;
}

static void answer(int handle, int bytes, struct sockaddr_in *to, socklen_t size) {
    u64 sequence = word_at(packet + 8, 8);
    u32 body = bytes - HEADER_BYTES;
    memcpy(packet + 4, &body, 4);
    for (u32 i = 0; 8 * i < body; i++) {
        u64 word = (u64)i * WORD_STEP + sequence * SEQUENCE_STEP;
        memcpy(packet + HEADER_BYTES + 8 * i, &word, 8);
    }
    if (sendto(handle, packet, bytes, MSG_DONTWAIT, (void *)to, size) == bytes) answered++;
}

/* 0 if the socket is empty. */
static int take_one(int handle) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    u64 good_before = good;
    int bytes = recvfrom(handle, packet, sizeof packet, MSG_DONTWAIT, (void *)&from, &size);
    if (bytes < 0) return 0;
    check(packet, bytes);
    int wanted = good > good_before && !told_to_end() ? word_at(packet + 6, 2) : 0;
    if (wanted >= HEADER_BYTES) answer(handle, wanted, &from, size);
    return 1;
}

int apply(unsigned port, u64 hold_us) {
    int handle = open_socket(port), yes = 1;
    if (handle < 0) return failed("bind");
    setsockopt(handle, SOL_SOCKET, SO_TIMESTAMPNS_, &yes, sizeof yes);
    if (!in_background("application")) return 0;
    while (!told_to_end()) {
        s64 left = left_to_hold(handle, (s64)hold_us * 1000);
        if (left == 0) take_one(handle);
        else if (left < 0) wait_for_input(handle);
        else pending_end(&(struct timespec){0, left < LONGEST_WAIT_NS ? left : LONGEST_WAIT_NS});
    }
    u32 drops = dropped_by(handle);
    while (take_one(handle)) {}
    print_verdict("application", port, drops);
    return 0;
}
