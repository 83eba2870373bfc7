package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// process names a process for ever: a PID alone is reused.
type process struct {
	pid int
	// start is the process's start time in clock ticks since boot.
	start uint64
}

// records is the file RootDir/pids: a line "PID START WHAT" for each process
// that the node runs, the kubelet first. It is complete at any moment, since a
// stage does nothing before the kubelet has recorded it, so that whoever kills
// what the file names has killed the node.
type records struct {
	path string
	mu   sync.Mutex
	live map[process]string
}

// openRecords kills what an earlier kubelet left, and records this one.
func openRecords(rootDir string) (*records, error) {
	r := &records{path: filepath.Join(rootDir, "pids"), live: map[process]string{}}
	if err := killRecorded(r.path); err != nil {
		return nil, err
	}
	_, err := r.add(os.Getpid(), "kubelet")
	return r, err
}

// add records a process that has just been started.
func (r *records) add(pid int, what string) (process, error) {
	start, err := startTime(pid)
	if err != nil {
		return process{}, fmt.Errorf("record process %d: %w", pid, err)
	}
	entry := process{pid, start}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[entry] = what
	return entry, r.write()
}

// remove forgets a process that was waited for.
func (r *records) remove(entry process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, entry)
	return r.write()
}

// close removes the file of a node on which nothing runs any more.
func (r *records) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Remove(r.path); err != nil {
		return fmt.Errorf("remove recorded processes: %w", err)
	}
	return nil
}

// write replaces the file as a whole.
func (r *records) write() error {
	lines := make([]string, 0, len(r.live))
	for entry, what := range r.live {
		lines = append(lines, fmt.Sprintf("%d %d %s\n", entry.pid, entry.start, what))
	}
	sort.Strings(lines)
	if err := os.WriteFile(r.path+".new", []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("record processes: %w", err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return fmt.Errorf("record processes: %w", err)
	}
	return nil
}

// killRecorded kills every process that the file names and that still is the
// same, the kubelet first so that it restarts nothing; it waits for each end.
func killRecorded(path string) error {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read recorded processes: %w", err)
	}
	var order []process
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, errPID := strconv.Atoi(fields[0])
		start, errStart := strconv.ParseUint(fields[1], 10, 64)
		if errPID != nil || errStart != nil || pid == os.Getpid() {
			continue
		}
		if fields[2] == "kubelet" {
			order = append([]process{{pid, start}}, order...)
		} else {
			order = append(order, process{pid, start})
		}
	}
	for _, entry := range order {
		if err := entry.kill(); err != nil {
			return err
		}
	}
	for _, entry := range order {
		entry.await()
	}
	return os.Remove(path)
}

// kill sends SIGKILL to exactly this process; it is no error that it is gone.
func (p process) kill() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	// Checked after the descriptor is open: from here on it means one process.
	if start, err := startTime(p.pid); err != nil || start != p.start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	return nil
}

// await returns when the process has ended, reaped or not, at most after 5 s.
func (p process) await() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if start, err := startTime(p.pid); err != nil || start != p.start {
		return
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
		if err != unix.EINTR {
			return
		}
	}
}

// startTime reads field 22 of /proc/PID/stat. A zombie counts as gone.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may hold anything, a closing bracket too.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
