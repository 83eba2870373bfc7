package stage

import (
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LastCapability is the highest capability number that the kernel knows.
func LastCapability() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return unix.CAP_LAST_CAP
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || last < 0 || last > 63 {
		return unix.CAP_LAST_CAP
	}
	return last
}

// setgroups sets the groups of this thread alone (the standard library's sets
// those of every thread, and this thread is the only one that lives on).
func setgroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}

// BoundingSet is the set of capabilities that a child of this process can have.
func BoundingSet() (uint64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "CapBnd:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseUint(strings.TrimSpace(line), 16, 64)
}
