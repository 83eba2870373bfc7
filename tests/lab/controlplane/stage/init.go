package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// runInit turns this process into the container's program. Namespaces for
// mounts, PIDs, IPC and host name were made by the clone that started it.
//
// All of it happens on one thread: credentials, namespaces and no_new_privs
// belong to threads on Linux, and exec keeps those of the thread that calls it.
func runInit([]string) error {
	runtime.LockOSThread()
	unix.CloseOnExec(SpecFD)
	unix.CloseOnExec(ReportFD)
	report := os.NewFile(ReportFD, "report")
	err := become()
	// Reached only when the program could not be executed.
	fmt.Fprint(report, err)
	return err
}

func become() error {
	var spec Spec
	if err := json.NewDecoder(os.NewFile(SpecFD, "spec")).Decode(&spec); err != nil {
		return fmt.Errorf("the kubelet ended before it described the container: %w", err)
	}
	if spec.Join != 0 {
		if err := join(spec.Join); err != nil {
			return err
		}
	} else if err := build(&spec); err != nil {
		return err
	}
	if err := enter(spec.Dir); err != nil {
		return err
	}
	if err := drop(&spec); err != nil {
		return err
	}
	path, err := lookPath(spec.Argv[0], spec.Env)
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %q: %w", path, unix.Exec(path, spec.Argv, spec.Env))
}

// build makes the root file system and moves into it.
func build(spec *Spec) error {
	if spec.NetNS != "" {
		if err := setns(spec.NetNS, unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	if spec.Hostname != "" {
		if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
			return fmt.Errorf("set host name %q: %w", spec.Hostname, err)
		}
	}
	if err := mountRoot(spec); err != nil {
		return err
	}
	return pivot(spec)
}

// join enters the mount and network namespaces of a running container. The
// thread needs a file system context of its own first (setns(2), CLONE_NEWNS).
// Its PID namespace is not entered: that would take one more process.
func join(pid int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare file system context: %w", err)
	}
	if err := setns(fmt.Sprintf("/proc/%d/ns/net", pid), unix.CLONE_NEWNET); err != nil {
		return err
	}
	return setns(fmt.Sprintf("/proc/%d/ns/mnt", pid), unix.CLONE_NEWNS)
}

func setns(path string, kind int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, kind); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}

// enter changes to the working directory.
func enter(dir string) error {
	if dir == "" {
		dir = "/"
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("working directory %q: %w", dir, err)
	}
	unix.Umask(0o022)
	return nil
}

// drop takes the identity and the rights that the Spec grants, and no other.
// The bounding set goes first, while CAP_SETPCAP is there.
func drop(spec *Spec) error {
	for capability := 0; capability <= LastCapability(); capability++ {
		if spec.Capabilities&(1<<capability) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", capability, err)
		}
	}
	groups := make([]uint32, len(spec.Groups))
	copy(groups, spec.Groups)
	if err := setgroups(groups); err != nil {
		return fmt.Errorf("set groups %v: %w", groups, err)
	}
	if err := unix.Setresgid(int(spec.GID), int(spec.GID), int(spec.GID)); err != nil {
		return fmt.Errorf("set group %d: %w", spec.GID, err)
	}
	if err := unix.Setresuid(int(spec.UID), int(spec.UID), int(spec.UID)); err != nil {
		return fmt.Errorf("set user %d: %w", spec.UID, err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	held := spec.Capabilities
	if spec.UID != 0 {
		held = 0
	}
	if err := capset(held); err != nil {
		return fmt.Errorf("set capabilities %#x: %w", held, err)
	}
	if spec.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}

// capset sets permitted and effective to held and inheritable to nothing.
func capset(held uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(held), Permitted: uint32(held)},
		{Effective: uint32(held >> 32), Permitted: uint32(held >> 32)},
	}
	return unix.Capset(&header, &data[0])
}

// lookPath finds the program inside the root by the container's own PATH.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var path string
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		info, err := os.Stat(candidate)
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
