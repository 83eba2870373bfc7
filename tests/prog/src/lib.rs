//! BPF_PROG_TEST_RUN fixtures for every outcome of the XDP program.
