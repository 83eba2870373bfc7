package kubelet

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// readyAnnotation set to "false" makes a pod unready: a test's own switch, as
// a failing readiness probe would be.
const readyAnnotation = "lab/ready"

// buildStatus computes a pod's status from the object as last seen and the
// state. Conditions of others (scheduler, readiness gates) stay.
func buildStatus(pod *corev1.Pod, state *podState, hostIPs []string, now metav1.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.Phase = phase(pod.Spec.RestartPolicy, state)
	status.Reason, status.Message = state.Reason, state.Message
	status.HostIP, status.HostIPs = "", nil
	for i, ip := range hostIPs {
		if i == 0 {
			status.HostIP = ip
		}
		status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: ip})
	}
	status.PodIP, status.PodIPs = "", nil
	for i, ip := range state.IPs {
		if i == 0 {
			status.PodIP = ip
		}
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
	start := state.StartTime
	status.StartTime = &start
	status.InitContainerStatuses = containerStatuses(state.Init)
	status.ContainerStatuses = containerStatuses(state.Containers)
	for _, condition := range conditions(pod, state) {
		setCondition(&status.Conditions, condition, now)
	}
	return status
}

// phase as the API defines it. A pod that ended ends with its containers' codes.
func phase(policy corev1.RestartPolicy, state *podState) corev1.PodPhase {
	if state.Finished {
		for _, list := range [][]*containerState{state.Init, state.Containers} {
			for _, container := range list {
				end := container.State.Terminated
				if end == nil || end.ExitCode != 0 {
					return corev1.PodFailed
				}
			}
		}
		return corev1.PodSucceeded
	}
	for _, container := range state.Containers {
		if container.State.Running != nil || container.State.Terminated != nil || container.Last.Terminated != nil {
			return corev1.PodRunning
		}
	}
	return corev1.PodPending
}

func containerStatuses(states []*containerState) []corev1.ContainerStatus {
	var list []corev1.ContainerStatus
	for _, s := range states {
		started := s.Started
		list = append(list, corev1.ContainerStatus{
			Name: s.Name, Image: s.Image, ImageID: imageID(s), ContainerID: s.ID, State: *s.State.DeepCopy(),
			LastTerminationState: *s.Last.DeepCopy(), Ready: s.Ready, Started: &started, RestartCount: s.Restarts,
		})
	}
	return list
}

func imageID(s *containerState) string {
	if s.ID == "" {
		return ""
	}
	return "lab://" + s.Image
}

// conditions are those that the kubelet owns.
func conditions(pod *corev1.Pod, state *podState) []corev1.PodCondition {
	make := func(kind corev1.PodConditionType, ok bool, reason, message string) corev1.PodCondition {
		condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation}
		if !ok {
			condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, reason, message
		}
		return condition
	}
	initialized := true
	for _, container := range state.Init {
		end := container.State.Terminated
		initialized = initialized && end != nil && end.ExitCode == 0
	}
	var unready []string
	for _, container := range state.Containers {
		if !container.Ready {
			unready = append(unready, container.Name)
		}
	}
	containersReady := len(unready) == 0 && len(state.Containers) > 0
	message := fmt.Sprintf("containers with unready status: %v", unready)
	ready, reason := containersReady, "ContainersNotReady"
	if containersReady {
		ready, reason, message = gatesReady(pod)
	}
	return []corev1.PodCondition{
		make(corev1.PodReadyToStartContainers, len(state.IPs) > 0 && !state.Finished, "", ""),
		make(corev1.PodInitialized, initialized, "ContainersNotInitialized", "init containers have not all succeeded"),
		make(corev1.ContainersReady, containersReady, "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)),
		make(corev1.PodReady, ready, reason, message),
	}
}

// gatesReady is what beyond its containers decides whether a pod is ready.
func gatesReady(pod *corev1.Pod) (bool, string, string) {
	if pod.Annotations[readyAnnotation] == "false" {
		return false, "LabAnnotation", "annotation " + readyAnnotation + " is false"
	}
	for _, gate := range pod.Spec.ReadinessGates {
		met := false
		for _, condition := range pod.Status.Conditions {
			met = met || condition.Type == gate.ConditionType && condition.Status == corev1.ConditionTrue
		}
		if !met {
			return false, "ReadinessGatesNotReady", fmt.Sprintf("readiness gate %q is not true", gate.ConditionType)
		}
	}
	return true, "", ""
}

// setCondition replaces the condition of its type, keeping the time of the
// last transition when the status stays.
func setCondition(list *[]corev1.PodCondition, condition corev1.PodCondition, now metav1.Time) {
	condition.LastTransitionTime = now
	for i, old := range *list {
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		(*list)[i] = condition
		return
	}
	*list = append(*list, condition)
}

// writeStatuses writes the pod's status whenever the state or the object
// changed, until the worker's context or done ends.
func (w *worker) writeStatuses(done <-chan struct{}) {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-done:
			return
		case <-w.dirty:
		}
		if err := w.writeStatus(); err != nil && w.ctx.Err() == nil {
			w.k.log.Printf("%s: write status: %v", w, err)
			if !wait(w.ctx, retryDelay) {
				return
			}
			w.markDirty()
		}
	}
}

// retryDelay is the wait after a failed call to the API server.
const retryDelay = 500 * time.Millisecond

// writeStatus sends the difference to what was last seen or written. The UID
// in it makes it fail for another pod of the same name.
func (w *worker) writeStatus() error {
	w.mu.Lock()
	before := w.pod.DeepCopy()
	after := before.DeepCopy()
	after.Status = buildStatus(before, &w.state, texts(w.k.config.NodeIPs), metav1.Now())
	w.mu.Unlock()
	patch, changed, err := statusPatch(before, after)
	if err != nil || !changed {
		return err
	}
	written, err := w.k.client.CoreV1().Pods(before.Namespace).Patch(w.ctx, before.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // The object is gone or replaced; the informer will say so.
	} else if err != nil {
		return err
	}
	w.saw(written)
	return nil
}

func statusPatch(before, after *corev1.Pod) ([]byte, bool, error) {
	// Only the status takes part, and the UID, which is there only once so
	// that it is always part of the difference.
	old, err := json.Marshal(corev1.Pod{Status: before.Status})
	if err != nil {
		return nil, false, err
	}
	plain, err := json.Marshal(corev1.Pod{Status: after.Status})
	if err != nil {
		return nil, false, err
	}
	if string(old) == string(plain) {
		return nil, false, nil
	}
	named, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: before.UID}, Status: after.Status})
	if err != nil {
		return nil, false, err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(old, named, corev1.Pod{})
	return patch, true, err
}
