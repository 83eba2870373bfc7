package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clarion.dev/lab/controlplane/stage"
)

// stageTimeout bounds the time that a stage may take to become its program.
const stageTimeout = 20 * time.Second

// running is a process that the kubelet started and waits for.
type running struct {
	process
	// ended is closed when it was reaped; code is valid then.
	ended chan struct{}
	// code is the exit code; 128 + N for a signal N.
	code int
}

// request says what to start; see [Kubelet.spawn].
type request struct {
	// name is the stage, and what stands in the records.
	name, what string
	args       []string
	// spec is sent to the stage; nil for the pause process.
	spec *stage.Spec
	// namespaces are those to make, CLONE_NEW*.
	namespaces uintptr
	// output takes stdout and stderr.
	output *os.File
}

// spawn starts a stage, records it, describes the container to it and returns
// when the stage has become its program. An error has the stage's own words.
func (k *Kubelet) spawn(r request) (*running, error) {
	specReader, specWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specWriter.Close()
	reportReader, reportWriter, err := os.Pipe()
	if err != nil {
		specReader.Close()
		return nil, err
	}
	defer reportReader.Close()
	command := exec.Command(k.executable, r.args...)
	command.Args[0] = r.name
	command.Env = []string{}
	command.Dir = "/"
	command.Stdout, command.Stderr = r.output, r.output
	command.ExtraFiles = []*os.File{specReader, reportWriter}
	// A process group, not a session: where the host has sched_autogroup_enabled, each session has
	// a share of the processors of its own, and a pod that sleeps much would wait 100 ms and more
	// for its turn beside the control plane, which no scheduler of a node makes it do.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: r.namespaces}
	err = command.Start()
	specReader.Close()
	reportWriter.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", r.name, err)
	}
	entry, err := k.records.add(command.Process.Pid, r.what)
	child := &running{process: entry, ended: make(chan struct{})}
	go k.reap(command, child)
	if err != nil {
		command.Process.Kill()
		return nil, err
	}
	if r.spec != nil {
		if err := json.NewEncoder(specWriter).Encode(r.spec); err != nil {
			command.Process.Kill()
			return nil, fmt.Errorf("describe the container: %w", err)
		}
	}
	if err := awaitReport(reportReader); err != nil {
		command.Process.Kill()
		<-child.ended
		return nil, err
	}
	return child, nil
}

// awaitReport returns what the stage reports: nothing means that it succeeded.
func awaitReport(report *os.File) error {
	if err := report.SetReadDeadline(time.Now().Add(stageTimeout)); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(report, 4096))
	if err != nil {
		return fmt.Errorf("the container's stage said nothing for %s: %w", stageTimeout, err)
	}
	if len(text) > 0 {
		return errors.New(string(text))
	}
	return nil
}

func (k *Kubelet) reap(command *exec.Cmd, child *running) {
	err := command.Wait()
	child.code = exitCode(command.ProcessState)
	if err != nil && command.ProcessState == nil {
		k.log.Printf("wait for process %d: %v", child.pid, err)
	}
	if err := k.records.remove(child.process); err != nil {
		k.log.Print(err)
	}
	close(child.ended)
}

func exitCode(state *os.ProcessState) int {
	if state == nil {
		return 255
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// signal sends a signal; it is no error that the process has ended.
func (r *running) signal(signal unix.Signal) {
	select {
	case <-r.ended:
	default:
		unix.Kill(r.pid, signal)
	}
}

// stop sends SIGTERM, and SIGKILL to the process and its group after
// grace or when atOnce closes (nil = never). With a PID namespace the latter
// ends all of the container.
func (r *running) stop(grace time.Duration, atOnce <-chan struct{}) {
	if grace > 0 {
		r.signal(unix.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-r.ended:
		case <-timer.C:
		case <-atOnce:
		}
	}
	r.signal(unix.SIGKILL)
	unix.Kill(-r.pid, unix.SIGKILL)
	<-r.ended
}
