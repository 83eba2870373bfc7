package stage

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What containerd hides from, and shows read-only to, an unprivileged
// container (OCI default spec: maskedPaths, readonlyPaths).
var (
	maskedPaths   = []string{"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// devices are bound from the machine's /dev: making nodes would take a
// capability that a nested lab may not have.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// mountRoot builds the root file system at spec.Root. It is an empty tmpfs,
// like an image FROM scratch, in which only what the Spec names exists.
func mountRoot(spec *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mountTmpfs(spec.Root, 0, "mode=0755,size=64m"); err != nil {
		return err
	}
	if err := mountProc(spec); err != nil {
		return err
	}
	if err := mountDev(spec.Root); err != nil {
		return err
	}
	if err := mountSys(spec); err != nil {
		return err
	}
	for _, mount := range spec.Mounts {
		if err := bind(mount.Source, inside(spec.Root, mount.Target), mount.ReadOnly); err != nil {
			return err
		}
	}
	if spec.Dir != "" {
		if err := os.MkdirAll(inside(spec.Root, spec.Dir), 0o755); err != nil {
			return fmt.Errorf("make working directory: %w", err)
		}
	}
	return hide(spec)
}

// inside joins a container path to the root without letting it climb out.
func inside(root, path string) string {
	return filepath.Join(root, filepath.Clean("/"+path))
}

func mountTmpfs(target string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", target, err)
	}
	return nil
}

func mountProc(spec *Spec) error {
	target := inside(spec.Root, "/proc")
	if spec.HostPID {
		return bind("/proc", target, false)
	}
	if err := os.MkdirAll(target, 0o555); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	if err := unix.Mount("proc", target, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

func mountDev(root string) error {
	dev := inside(root, "/dev")
	if err := mountTmpfs(dev, unix.MS_NOSUID, "mode=0755,size=64k"); err != nil {
		return err
	}
	for _, name := range devices {
		if err := bind("/dev/"+name, filepath.Join(dev, name), false); err != nil {
			return err
		}
	}
	links := map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return fmt.Errorf("link /dev/%s: %w", name, err)
		}
	}
	return mountTmpfs(filepath.Join(dev, "shm"), unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=64m")
}

// mountSys mounts a sysfs that shows the network namespace of this thread.
// The superblock is shared with others of that namespace, so read-only is a
// property of this mount, set by a second call.
func mountSys(spec *Spec) error {
	target := inside(spec.Root, "/sys")
	if err := os.MkdirAll(target, 0o555); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("sysfs", target, "sysfs", flags, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if spec.Privileged {
		return nil
	}
	return readOnly(target, flags)
}

// bind binds a file or directory, with everything mounted below it.
func bind(source, target string, ro bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("mount source: %w", err)
	}
	if err := mountPoint(target, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	if ro {
		return readOnly(target, 0)
	}
	return nil
}

func mountPoint(target string, dir bool) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if dir {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	return file.Close()
}

func readOnly(target string, flags uintptr) error {
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// hide applies the masked and read-only paths; those the kernel lacks are
// not there to be hidden.
func hide(spec *Spec) error {
	if spec.Privileged {
		return nil
	}
	for _, path := range readOnlyPaths {
		target := inside(spec.Root, path)
		if _, err := os.Stat(target); err != nil {
			continue
		}
		if err := bind(target, target, true); err != nil {
			return err
		}
	}
	for _, path := range maskedPaths {
		target := inside(spec.Root, path)
		info, err := os.Stat(target)
		if err != nil {
			continue
		}
		if info.IsDir() {
			err = unix.Mount("tmpfs", target, "tmpfs", unix.MS_RDONLY, "size=0")
		} else {
			err = unix.Mount("/dev/null", target, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("mask %s: %w", path, err)
		}
	}
	return nil
}

// pivot makes spec.Root the root and lets go of the machine's file systems.
func pivot(spec *Spec) error {
	if err := unix.Chdir(spec.Root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if spec.ReadOnlyRoot {
		return readOnly("/", 0)
	}
	return nil
}
