"""What leaving the guest costs here: to user space and back, into KVM and back, and a guest instruction."""

from __future__ import annotations

from vfbench.testbeds.kvm.doctor import probe


def main() -> None:
    found = probe()
    if not found["kvm"]:
        print(found["reason"])
        return
    print(f"guest instructions run {found['guest_runs']}: {found['ns_per_instruction']:.1f} ns each")
    print(f"exit to user space and back: {found['exit_us']:.2f} us")
    print(f"exit to an ioeventfd and back: {found['kernel_exit_us']:.2f} us")


if __name__ == "__main__":
    main()
