"""The suite's VF on a real guest's memory: records, and the primitives by which the machine's kernels act there."""
