package stage

// Spec says everything about one container process. The kubelet computes it
// and [InitName] carries it out without any decision of its own.
type Spec struct {
	// Join is the process whose mount and network namespaces are entered
	// instead of making a root file system: an exec probe. 0 = a container.
	Join int
	// NetNS is a file of the network namespace to join; empty keeps the node's.
	NetNS string
	// Hostname is set in the new UTS namespace; empty keeps the node's.
	Hostname string
	// Root is an empty directory on which the root file system is mounted,
	// in the container's own mount namespace only.
	Root string
	// ReadOnlyRoot makes the root file system read-only; volumes are not.
	ReadOnlyRoot bool
	// Privileged leaves /sys writable and hides nothing in /proc.
	Privileged bool
	// HostPID shows the machine's /proc, there being no PID namespace.
	HostPID bool
	// Mounts are bound in order: the image's binaries, then volumes.
	Mounts []Mount

	// UID, GID and Groups are those of the process.
	UID, GID uint32
	// Groups are the supplementary groups.
	Groups []uint32
	// Capabilities is the bounding set, and for UID 0 the permitted and
	// effective sets too (bit n = capability n). Inheritable and ambient sets
	// are empty, as containerd leaves them, so other users end up with none.
	Capabilities uint64
	// NoNewPrivs is set when allowPrivilegeEscalation is false.
	NoNewPrivs bool

	// Dir is the working directory inside the root, made when missing.
	Dir string
	// Argv is the command. A name without a slash is looked up in Env's PATH.
	Argv []string
	// Env is the environment, name=value.
	Env []string
}

// Mount is one bind mount. Target's parents and mount point are made.
type Mount struct {
	// Source is a file or directory of the machine.
	Source string
	// Target is an absolute path inside the container.
	Target string
	// ReadOnly remounts it read-only.
	ReadOnly bool
}
