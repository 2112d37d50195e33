//! Mounts in the tree, other filesystems, racing processes.
