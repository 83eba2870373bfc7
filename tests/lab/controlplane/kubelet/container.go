package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clarion.dev/lab/controlplane/stage"
)

// Waits before a container is started again: shorter than the kubelet's 10 s
// to 5 min, so that a test sees the restart.
const (
	backoffFirst = time.Second
	backoffMost  = 10 * time.Second
	// backoffReset is the life after which the next wait is the first again.
	backoffReset = 30 * time.Second
	// messageLimit is the kubelet's for a termination message.
	messageLimit = 4096
)

// backoff is the wait before the next start.
func nextBackoff(previous time.Duration, lived time.Duration) time.Duration {
	if previous == 0 || lived >= backoffReset {
		return backoffFirst
	}
	return min(previous*2, backoffMost)
}

// runContainer runs one container until it is done by the restart policy or
// the pod stops; it returns the last exit code.
func (w *worker) runContainer(index int, init bool) int {
	c, state := w.container(index, init)
	var previous time.Duration
	for {
		started := time.Now()
		code, ok := w.runOnce(c, state)
		select {
		case <-w.stopping:
			return code
		default:
		}
		if ok && !restarts(w.spec.Spec.RestartPolicy, code, init) {
			return code
		}
		previous = nextBackoff(previous, time.Since(started))
		w.update(func() { state.backOff(c.Name, previous, ok) })
		timer := time.NewTimer(previous)
		select {
		case <-w.stopping:
			timer.Stop()
			w.update(func() { state.giveUp() })
			return code
		case <-timer.C:
		}
		if ok {
			w.update(func() { state.Restarts++ })
		}
	}
}

// restarts says whether a container that ended is started again.
func restarts(policy corev1.RestartPolicy, code int, init bool) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	default:
		return !init || code != 0
	}
}

// runOnce starts the container and waits for its end. False means that it
// could not be started at all, and why is in the state.
func (w *worker) runOnce(c *corev1.Container, state *containerState) (int, bool) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	spec, err := w.k.containerSpec(ctx, w.spec, c, w.sandbox)
	if err != nil {
		reason := "CreateContainerConfigError"
		if strings.HasPrefix(err.Error(), "image ") {
			reason = "ErrImagePull"
		}
		w.cannotStart(c, state, reason, err)
		return 128, false
	}
	child, logged, err := w.startContainer(c, spec)
	if err != nil {
		w.cannotStart(c, state, "RunContainerError", err)
		return 128, false
	}
	began := metav1.Now()
	w.update(func() { state.running(child.pid, began, c) })
	unhealthy := make(chan string, 1)
	w.startProbes(ctx, c, state, child.pid, spec, unhealthy)
	w.awaitEnd(child, unhealthy, c)
	cancel()
	message := w.k.terminationMessage(w.spec, c, logged, child.code)
	w.update(func() { state.terminated(child.code, began, metav1.Now(), message) })
	return child.code, true
}

// cannotStart shows why a container does not start; the log has each reason once.
func (w *worker) cannotStart(c *corev1.Container, state *containerState, reason string, err error) {
	known := false
	w.update(func() {
		known = state.State.Waiting != nil && state.State.Waiting.Message == err.Error()
		state.waiting(reason, err.Error())
	})
	if !known {
		w.k.log.Printf("%s container %s: %s: %v", w, c.Name, reason, err)
	}
}

// awaitEnd returns when the process has ended: by itself, by a failed liveness
// probe, or because the pod stops.
func (w *worker) awaitEnd(child *running, unhealthy <-chan string, c *corev1.Container) {
	select {
	case <-child.ended:
	case text := <-unhealthy:
		w.k.log.Printf("%s container %s: probe failed, restarting: %s", w, c.Name, text)
		child.stop(w.probeGrace(c), w.stopping)
	case <-w.stopping:
		child.stop(w.gracePeriod(), w.atOnce)
	}
}

// probeGrace is how long a container that failed its liveness probe may take.
func (w *worker) probeGrace(c *corev1.Container) time.Duration {
	if probe := c.LivenessProbe; probe != nil && probe.TerminationGracePeriodSeconds != nil {
		return time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	return podGrace(w.spec)
}

// startContainer starts the process with its log, and writes its PID file. It
// returns where in the log its output begins.
func (w *worker) startContainer(c *corev1.Container, spec *stage.Spec) (*running, int64, error) {
	base := filepath.Join(w.k.logDir(w.spec), c.Name)
	output, err := os.OpenFile(base+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, 0, err
	}
	defer output.Close()
	info, err := output.Stat()
	if err != nil {
		return nil, 0, err
	}
	namespaces := uintptr(unix.CLONE_NEWNS)
	if !w.spec.Spec.HostPID {
		namespaces |= unix.CLONE_NEWPID
	}
	if !w.spec.Spec.HostIPC {
		namespaces |= unix.CLONE_NEWIPC
	}
	if !w.spec.Spec.HostNetwork {
		namespaces |= unix.CLONE_NEWUTS
	}
	child, err := w.k.spawn(request{
		name: stage.InitName, what: fmt.Sprintf("container %s/%s/%s", w.spec.Namespace, w.spec.Name, c.Name),
		spec: spec, namespaces: namespaces, output: output,
	})
	if err != nil {
		return nil, 0, err
	}
	pid := fmt.Sprintf("%d %d\n", child.pid, child.start)
	if err := os.WriteFile(base+".pid", []byte(pid), 0o644); err != nil {
		child.stop(0, nil)
		return nil, 0, err
	}
	return child, info.Size(), nil
}

// startProbes starts the container's probes. Liveness and readiness wait for
// the startup probe; whoever fails for good is sent to unhealthy.
func (w *worker) startProbes(ctx context.Context, c *corev1.Container, state *containerState, pid int, spec *stage.Spec, unhealthy chan<- string) {
	to := target{container: c, pid: pid, spec: spec, what: w.spec.Namespace + "/" + w.spec.Name + "/" + c.Name}
	if len(w.sandbox.addresses) > 0 {
		to.address = w.sandbox.addresses[0].String()
	}
	kill := func(kind probeKind, text string) {
		select {
		case unhealthy <- string(kind) + ": " + text:
		default:
		}
	}
	rest := func() {
		if c.LivenessProbe != nil {
			go w.k.probe(ctx, liveness, c.LivenessProbe, to, func(v verdict, text string) {
				if v == failed {
					kill(liveness, text)
				}
			})
		}
		if c.ReadinessProbe != nil {
			go w.k.probe(ctx, readiness, c.ReadinessProbe, to, func(v verdict, text string) { w.setReady(ctx, c, state, v == passed, text) })
		}
	}
	if c.StartupProbe == nil {
		rest()
		return
	}
	starting, done := context.WithCancel(ctx)
	go w.k.probe(starting, startup, c.StartupProbe, to, func(v verdict, text string) {
		if v == failed {
			kill(startup, text)
			done()
			return
		}
		done()
		w.update(func() { state.start(c) })
		rest()
	})
}

// setReady changes readiness, unless the container has ended meanwhile.
func (w *worker) setReady(ctx context.Context, c *corev1.Container, state *containerState, ready bool, text string) {
	changed := false
	w.update(func() {
		if ctx.Err() == nil && state.Ready != ready {
			state.Ready, changed = ready, true
		}
	})
	if changed && !ready {
		w.k.log.Printf("%s container %s: not ready: %s", w, c.Name, text)
	}
}

// terminationMessage is what the container wrote for its end, or, if it is so
// configured and it failed, the end of its log.
func (k *Kubelet) terminationMessage(pod *corev1.Pod, c *corev1.Container, from int64, code int) string {
	text, err := os.ReadFile(k.terminationLog(pod, c))
	if err == nil && len(text) > 0 {
		return strings.ToValidUTF8(string(text[:min(len(text), messageLimit)]), "?")
	}
	if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || code == 0 {
		return ""
	}
	output, err := os.ReadFile(filepath.Join(k.logDir(pod), c.Name+".log"))
	if err != nil || int64(len(output)) < from {
		return ""
	}
	output = output[from:]
	return strings.ToValidUTF8(string(output[max(0, len(output)-messageLimit/2):]), "?")
}
