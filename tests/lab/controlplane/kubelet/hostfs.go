package kubelet

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The node's own BPF file system, RootDir/bpf: each node of the lab has its
// own pins, which end with the node as they would at a reboot. It is mounted
// in the mount namespace that the kubelet was started in, outlives the
// kubelet's crash, and is adopted by the next kubelet (or made by the lab).
func bpffs(rootDir string) string { return filepath.Join(rootDir, "bpf") }

// prepareNode mounts the node's BPF file system unless it is there.
func prepareNode(rootDir string) error {
	path := bpffs(rootDir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("BPF file system: %w", err)
	}
	if isBPF(path) {
		return nil
	}
	if err := unix.Mount("bpf", path, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount BPF file system on %s: %w", path, err)
	}
	return nil
}

func isBPF(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Type == unix.BPF_FS_MAGIC
}

// releaseNode unmounts it: pinned programs and links end with the last of them.
func releaseNode(rootDir string) {
	if path := bpffs(rootDir); isBPF(path) {
		unix.Unmount(path, unix.MNT_DETACH)
	}
}

// PowerOff ends the node at once and without a word to anybody: SIGKILL to
// the kubelet and to every process of its pods, then the BPF file system goes.
func PowerOff(rootDir string) error {
	if err := killRecorded(filepath.Join(rootDir, "pids")); err != nil {
		return err
	}
	releaseNode(rootDir)
	return nil
}

func powerOffMain(args []string, logger *log.Logger) int {
	flags := flag.NewFlagSet("lab-kubelet poweroff", flag.ContinueOnError)
	rootDir := flags.String("root-dir", "", "--root-dir of the kubelet")
	if err := flags.Parse(args); err != nil || *rootDir == "" {
		logger.Print("lab-kubelet poweroff: --root-dir is needed")
		return 2
	}
	if err := PowerOff(*rootDir); err != nil {
		logger.Printf("lab-kubelet poweroff: %v", err)
		return 1
	}
	return 0
}

// machinePaths are hostPaths taken from the machine itself, which all nodes
// share as they share its kernel.
var machinePaths = []string{"/boot", "/dev", "/lib", "/lib64", "/proc", "/sys", "/usr"}

// hostPath maps a hostPath of a Pod spec to the file of the machine that
// stands for it: /sys/fs/bpf to the node's BPF file system, the kernel's and
// the system's directories to themselves, everything else below RootDir/host,
// so that a pod of the lab cannot touch the machine's files.
func hostPath(rootDir, path string) string {
	path = filepath.Clean("/" + path)
	if rest, ok := below("/sys/fs/bpf", path); ok {
		return filepath.Join(bpffs(rootDir), rest)
	}
	for _, prefix := range machinePaths {
		if _, ok := below(prefix, path); ok {
			return path
		}
	}
	return filepath.Join(rootDir, "host", path)
}

// below says whether path is dir or inside it, and the rest of it.
func below(dir, path string) (string, bool) {
	if path == dir {
		return "", true
	}
	return strings.CutPrefix(path, dir+"/")
}
