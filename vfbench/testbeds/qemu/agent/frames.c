/* The application where a capture's frames are sent as they are: a packet socket that keeps each for a while.
 *
 * A frame's source MAC address is 02 and its sequence number; what follows the addresses has one of the hashes in
 * /frames, by sequence number modulo their count. The classes are those of packets.c; of a frame that is not what it was
 * it is zero if it is so from the end of what a driver copies at once (256 bytes).
 */
#define FRAMES_FILE "/frames"
#define MACS_BYTES 12
#define COPIED_BYTES 256

static u64 *expected, expected_frames;

static int read_expected(void) {
    FILE *file = fopen(FRAMES_FILE, "r");
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    expected_frames = ftell(file) / 8;
    rewind(file);
    expected = malloc(8 * expected_frames + 8);
    return expected && fread(expected, 8, expected_frames, file) == expected_frames && expected_frames > 0;
}

static void check_frame(const u8 *frame, int bytes) {
    u64 sequence = 0;
    packets++;
    if (bytes < MACS_BYTES + 2) {
        too_short++;
        return;
    }
    if (all_zero(frame, bytes)) {
        zero++;
        note_damage(0, 0, bytes / 8, bytes / 8);
        return;
    }
    for (int i = 7; i < MACS_BYTES; i++) sequence = sequence << 8 | frame[i];
    if (frame[6] != 2 || sequence >= SEQUENCES) {
        foreign++;
    } else if (hash(frame + MACS_BYTES, bytes - MACS_BYTES) != expected[sequence % expected_frames]) {
        if (bytes > COPIED_BYTES && all_zero(frame + COPIED_BYTES, bytes - COPIED_BYTES)) zero++;
        else mixture++;
        note_damage(sequence, 0, 0, bytes / 8);
    } else if (seen[sequence / 8] >> sequence % 8 & 1) {
        older++;
        note_damage(sequence, -1, 0, bytes / 8);
    } else {
        good++;
        seen[sequence / 8] |= 1 << sequence % 8;
        if (sequence > last_sequence) last_sequence = sequence;
    }
}

static int take_frame(int handle) {
    int bytes = recv(handle, packet, sizeof packet, MSG_DONTWAIT);
    if (bytes < 0) return 0;
    check_frame(packet, bytes);
    return 1;
}

int apply_to_frames(const char *interface, u64 hold_us) {
    u32 counted[2] = {0};
    socklen_t size = sizeof counted;
    int yes = 1, handle;
    if (!read_expected()) return failed(FRAMES_FILE);
    handle = open_packet_socket(interface);
    if (handle < 0) return failed(interface);
    setsockopt(handle, SOL_SOCKET, SO_TIMESTAMPNS_, &yes, sizeof yes);
    if (!in_background("application")) return 0;
    while (!told_to_end()) {
        s64 left = left_to_hold(handle, (s64)hold_us * 1000);
        if (left == 0) take_frame(handle);
        else if (left < 0) wait_for_input(handle);
        else pending_end(&(struct timespec){0, left < LONGEST_WAIT_NS ? left : LONGEST_WAIT_NS});
    }
    getsockopt(handle, SOL_PACKET_, PACKET_STATISTICS_, counted, &size);
    while (take_frame(handle)) {}
    print_verdict("application", 0, counted[1]);
    return 0;
}
