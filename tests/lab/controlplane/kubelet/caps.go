package kubelet

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"clarion.dev/lab/controlplane/stage"
)

// capabilityNames in the order of their numbers (capabilities(7)).
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// defaultCapabilities are what containerd gives every container.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
	"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

// capabilities computes a container's set: the default less drop plus add, as
// the CRI applies them (drop ALL, then the named ones; add wins over drop).
// available is what this machine can grant at all; a default beyond it is left
// out, one that the Pod spec asks for is an error.
func capabilities(wanted *corev1.Capabilities, privileged bool, available uint64) (uint64, error) {
	if privileged {
		return available, nil
	}
	set, err := capabilityMask(defaultCapabilities)
	if err != nil {
		return 0, err
	}
	if wanted == nil {
		return set & available, nil
	}
	drop, err := capabilityMask(names(wanted.Drop))
	if err != nil {
		return 0, fmt.Errorf("securityContext.capabilities.drop: %w", err)
	}
	set &^= drop
	set &= available
	for _, name := range names(wanted.Add) {
		if isAll(name) {
			return available, nil
		}
		add, err := capabilityMask([]string{name})
		if err != nil {
			return 0, fmt.Errorf("securityContext.capabilities.add: %w", err)
		}
		if add&^available != 0 {
			return 0, fmt.Errorf("securityContext.capabilities.add: %s: this machine's root does not hold it itself", name)
		}
		set |= add
	}
	return set, nil
}

func names(list []corev1.Capability) []string {
	names := make([]string, len(list))
	for i, capability := range list {
		names[i] = string(capability)
	}
	return names
}

func isAll(name string) bool { return strings.EqualFold(name, "ALL") }

// capabilityMask turns names, with or without CAP_, into bits.
func capabilityMask(names []string) (uint64, error) {
	var mask uint64
	for _, name := range names {
		if isAll(name) {
			return ^uint64(0), nil
		}
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		number := -1
		for i, known := range capabilityNames {
			if known == short {
				number = i
			}
		}
		if number < 0 {
			return 0, fmt.Errorf("unknown capability %q", name)
		}
		mask |= 1 << number
	}
	return mask, nil
}

// availableCapabilities is what the kubelet itself may pass on.
func availableCapabilities() (uint64, error) { return stage.BoundingSet() }
