/* The program in the guest.
 *
 *   agent hold PORT      a UDP socket that nobody reads: its packets stay in the driver's pages
 *   agent echo PORT      reads, checks, and sends the first 64 bytes back
 *   agent app PORT HOLD_US
 *                        the workload's application: keeps each packet so long in its socket, checks it, and sends
 *                        back the answer that the packet asks for
 *   agent frames INTERFACE HOLD_US
 *                        the same for a capture's frames as they are, whose hashes are in /frames
 *   agent raw INTERFACE  every frame of an interface, held by a packet socket that nobody reads
 *   agent dirty BYTES PAGES_PER_S
 *                        writes to each page of its memory in turn, at that rate
 *   agent xdp INTERFACE write|read
 *                        a native XDP program that writes back one byte of each packet, or only reads it
 *   agent flag INTERFACE BITS
 *                        the driver's private flags (ethtool)
 *   agent collect        tells those above to read what they hold and to end; prints what they saw
 *
 * hold, echo, app, frames, raw and dirty go on in the background and return once they are ready. What is printed is JSON, an
 * object a line.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "agent.h"

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "hold") && count == 3) return receive(number(words[2]), 0);
    if (!strcmp(what, "echo") && count == 3) return receive(number(words[2]), 1);
    if (!strcmp(what, "app") && count == 4) return apply(number(words[2]), number(words[3]));
    if (!strcmp(what, "frames") && count == 4) return apply_to_frames(words[2], number(words[3]));
    if (!strcmp(what, "raw") && count == 3) return hold_frames(words[2]);
    if (!strcmp(what, "dirty") && count == 4) return dirty(number(words[2]), number(words[3]));
    if (!strcmp(what, "xdp") && count == 4) return attach_xdp(words[2], !strcmp(words[3], "write"));
    if (!strcmp(what, "flag") && count == 4) return set_private_flags(words[2], number(words[3]));
    if (!strcmp(what, "collect") && count == 2) return collect();
    fprintf(stderr, "agent: hold|echo PORT, app PORT HOLD_US, frames INTERFACE HOLD_US, raw INTERFACE, "
                    "dirty BYTES PAGES_PER_S, xdp INTERFACE write|read, flag INTERFACE BITS, collect\n");
    return 2;
}

#include "background.c"
#include "packets.c"
#include "application.c"
#include "frames.c"
#include "memory.c"
#include "xdp.c"
