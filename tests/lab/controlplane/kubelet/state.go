package kubelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podState is what the kubelet knows of a pod it runs; status.go turns it into
// what the API shows. It is behind the worker's mutex.
type podState struct {
	// IPs are the pod's addresses, empty before it has its sandbox.
	IPs       []string
	StartTime metav1.Time
	// Trouble says why nothing starts (reason and text); empty when all is well.
	Reason, Message string
	Init            []*containerState
	Containers      []*containerState
	// Finished: all containers have ended and none will be started again.
	Finished bool
}

// containerState is one container's.
type containerState struct {
	Name, Image, ID string
	State, Last     corev1.ContainerState
	// Ready and Started are meant as in ContainerStatus.
	Ready, Started bool
	Restarts       int32
}

// newPodState begins from what the API shows, so that counts go on when a node
// comes back: what ran then is gone, how it ended is not known.
func newPodState(pod *corev1.Pod) podState {
	state := podState{StartTime: metav1.Now()}
	if pod.Status.StartTime != nil {
		state.StartTime = *pod.Status.StartTime
	}
	waiting := "ContainerCreating"
	if len(pod.Spec.InitContainers) > 0 {
		waiting = "PodInitializing"
	}
	state.Init = newContainerStates(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, "PodInitializing")
	state.Containers = newContainerStates(pod.Spec.Containers, pod.Status.ContainerStatuses, waiting)
	return state
}

func newContainerStates(containers []corev1.Container, known []corev1.ContainerStatus, waiting string) []*containerState {
	states := make([]*containerState, len(containers))
	for i, container := range containers {
		state := &containerState{Name: container.Name, Image: container.Image}
		state.waiting(waiting, "")
		for _, old := range known {
			if old.Name != container.Name || old.ContainerID == "" {
				continue
			}
			state.Restarts = old.RestartCount + 1
			state.Last.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: 255, Reason: "Unknown", Message: "the node or its kubelet was restarted", ContainerID: old.ContainerID,
			}
		}
		states[i] = state
	}
	return states
}

func (s *containerState) waiting(reason, message string) {
	s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	s.Ready, s.Started = false, false
}

// running: without a startup probe a container has started, and without a
// readiness probe it then is ready.
func (s *containerState) running(pid int, at metav1.Time, c *corev1.Container) {
	s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}}
	s.ID = fmt.Sprintf("lab://%d", pid)
	s.Ready, s.Started = false, false
	if c.StartupProbe == nil {
		s.start(c)
	}
}

func (s *containerState) start(c *corev1.Container) {
	s.Started = true
	s.Ready = c.ReadinessProbe == nil
}

func (s *containerState) terminated(code int, from, to metav1.Time, message string) {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(code), Reason: reason, Message: message, StartedAt: from, FinishedAt: to, ContainerID: s.ID,
	}}
	if code > 128 && code < 160 {
		s.State.Terminated.Signal = int32(code - 128)
	}
	s.Ready, s.Started = false, false
}

// backOff waits to be started again: after its end the last state is kept;
// when it did not even start, the reason stays what it was.
func (s *containerState) backOff(name string, wait time.Duration, ran bool) {
	if !ran {
		return
	}
	s.Last = s.State
	s.waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s", wait, name))
}

// giveUp is the end of a container that waits while its pod stops.
func (s *containerState) giveUp() {
	if s.Last.Terminated != nil {
		s.State, s.Last = s.Last, corev1.ContainerState{}
	}
}
