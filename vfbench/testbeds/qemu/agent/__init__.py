"""The program that runs in the guest, in C: it holds packets, echoes them, checks them, and dirties memory."""
