//! Map keys and values, counter names and limits shared by the XDP program and user space.
